"""A service of one's own, as a real process."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.local_service import NoLocalService, local_service
from service.settings import Settings
from spezia.client import Client
from spezia.common.home_lock import find
from tests.service.search.builders import make_spec


def test_a_service_is_started_and_ends_with_us(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", n_workers=0)
    with local_service(settings, [tmp_path]) as (url, is_ours), Client(url) as client:
        assert is_ours
        created = client.post_study(make_spec(name="toy"))
        assert created.state == "running"
        with local_service(settings, []) as (again, is_ours_too):
            assert (again, is_ours_too) == (url, False)
    assert find(settings.home) is None
    assert "Traceback" not in (settings.home / "service.log").read_text()


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", n_workers=0, database_url="mysql://host/db")
    with pytest.raises(NoLocalService, match="the service did not start"), local_service(settings, []):
        pass


def test_a_service_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from service.cli.local_service import local_service
from service.settings import Settings
with local_service(Settings(home=Path({str(tmp_path)!r}), n_workers=0), []):
    print("up", flush=True)
    time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    running = find(tmp_path)
    assert running is not None
    starter.kill()
    starter.communicate()
    descriptor = os.pidfd_open(running.pid) if Path(f"/proc/{running.pid}").exists() else None
    if descriptor is not None:
        # readable when the process has ended
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)
    assert find(tmp_path) is None
