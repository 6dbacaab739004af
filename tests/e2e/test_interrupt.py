"""Ctrl-C of `spezia run`, with real processes: nothing of it is left on the machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spezia.cli.follow import INTERRUPTED
from tests.e2e.test_kill import ROOT, eventually
from tests.trainer import tiny
from trainer.supervisor.end_on_signals import SAVE_SECONDS

RUN = """
import signal, sys
from service.cli import local_service
from spezia.cli.main import main

home, script, study = sys.argv[1:]
serve = [sys.executable, "-m", "tests.e2e.serve_with_fake_engine", home, script, "2", "--exit-with-parent"]
local_service._command = lambda settings, data_roots: serve
signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal
sys.argv[1:] = ["run", study]
main()
"""


class Run:
    """`spezia run` of one trial whose engine does what a script says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid_file = folder / "engine.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, hang: bool | str) -> subprocess.Popen[bytes]:
        script, study = self._folder / "script.json", self._folder / "study.json"
        script.write_text(json.dumps({"trials": {"0": [{"pid": str(self._pid_file)}, {"hang": hang}]}}))
        study.write_text(tiny.make_spec(name="interrupted", n_trials=1).model_dump_json())
        command = [sys.executable, "-c", RUN, str(self._folder / "home"), str(script), str(study)]
        environment = os.environ | {"SPEZIA_HOME": str(self._folder / "home")}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        eventually(self._pid_file.exists)
        return self._process

    def left(self) -> list[int]:
        """Processes whose command line names the folder: service, workers and engines."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self._folder).encode() in command:
                found.append(int(folder.name))
        return found

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.end()


def test_ctrl_c_of_a_run_leaves_no_process_behind(run: Run) -> None:
    process = run.start(hang=True)
    assert len(run.left()) > 3
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == INTERRUPTED
    assert run.left() == []


def test_a_second_ctrl_c_ends_a_run_at_once_and_leaves_no_process_behind(run: Run) -> None:
    process = run.start(hang="deaf")
    began_at = time.monotonic()
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        assert time.monotonic() - began_at < SAVE_SECONDS
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
    assert run.left() == []
