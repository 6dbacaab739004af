import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spezia.common.home_lock import AlreadyRunning, find, hold, url_from_here, uses

HOLD = """
import sys, time
from pathlib import Path
from spezia.common.home_lock import hold
with hold(Path(sys.argv[1])) as held:
    held.announce("http://127.0.0.1:1", "sqlite://")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_home_is_found_and_a_left_one_is_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert find(home) is None
    with hold(home) as held:
        assert find(home) is None  # nobody finds a service that is not ready
        held.announce("http://127.0.0.1:1", "sqlite:///a")
        running = find(home)
        assert running is not None
        assert (running.url, running.pid) == ("http://127.0.0.1:1", os.getpid())
        assert uses(running, "sqlite:///a")
        assert not uses(running, "sqlite:///b")
        with pytest.raises(AlreadyRunning), hold(home):
            pass
        assert find(home) == running
    assert find(home) is None


def test_a_password_is_not_written_down(tmp_path: Path) -> None:
    with hold(tmp_path) as held:
        held.announce("http://127.0.0.1:1", "postgresql://me:secret@host/db")
        assert "secret" not in (tmp_path / "service.json").read_text()


def test_a_killed_service_is_not_found(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    running = find(tmp_path)
    assert running is not None
    assert running.pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert json.loads((tmp_path / "service.json").read_text())["pid"] == process.pid
    assert find(tmp_path) is None


def test_a_look_at_the_wrong_moment_does_not_stop_a_service_from_starting(tmp_path: Path) -> None:
    lock = (tmp_path / "service.lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_SH)
    threading.Timer(0.05, lock.close).start()
    with hold(tmp_path) as held:
        held.announce("http://127.0.0.1:1", "sqlite:///a")
        assert find(tmp_path) is not None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765"),
        ("0.0.0.0", "http://127.0.0.1:8765"),
        ("::", "http://[::1]:8765"),
        ("::1", "http://[::1]:8765"),
        ("[2001:db8::7]", "http://[2001:db8::7]:8765"),
        ("gpu-box", "http://gpu-box:8765"),
    ],
)
def test_a_service_is_called_by_an_address_that_can_be_called(host: str, url: str) -> None:
    assert url_from_here(host, 8765) == url
