import os
import subprocess
import sys
from pathlib import Path

import pytest

HANGS = """
import threading, time
import pytest
from tests import hangs

hangs._GRACE_SECONDS = 1.0

@pytest.fixture
def server():
    thread = threading.Thread(target=lambda: time.sleep(1000))
    thread.start()
    yield
    {teardown}

@pytest.mark.timeout(1)
def test_of_a_server(server):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "teardown", "what"),
    [
        ("time.sleep(1000)", "thread.join()", "test_hangs_here.py::test_of_a_server does not end"),
        ("pass", "pass", "the test process does not end"),
    ],
)
def test_a_thread_of_a_server_that_does_not_end_fails_the_tests(
    body: str, teardown: str, what: str, tmp_path: Path
) -> None:
    (tmp_path / "test_hangs_here.py").write_text(HANGS.format(body=body, teardown=teardown))
    command = [sys.executable, "-m", "pytest", "-p", "tests.hangs", "-p", "no:cacheprovider", "test_hangs_here.py"]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert what in done.stderr
    assert 'test_hangs_here.py", line' in done.stderr  # where its threads are
