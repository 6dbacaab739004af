"""A worker that is told to end saves its trial first, and another one goes on with it: `spezia-worker` as a process."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from spezia.contract.assignments import Resume
from tests import fake_engine
from tests.fake_service import FakeService, assignment, served
from tests.trainer.supervisor.test_supervisor import GOOD, is_dead
from tests.trainer.test_worker_process import SECONDS, until
from trainer.supervisor import end_on_signals as ending
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.supervisor import Supervisor
from trainer.trial.checkpoint_folder import CheckpointFolder

STUDY = "f" * 32


class Scene:
    """A service, workers with a scripted engine, and the folder where they leave checkpoints."""

    def __init__(self, folder: Path, server: str, service: FakeService, stack: ExitStack) -> None:
        self.service = service
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self._server = server
        self._stack = stack

    def start(self, **trials: list[dict[str, Any]]) -> subprocess.Popen[bytes]:
        script = self.folder / "script.json"
        script.write_text(json.dumps({"trials": {name.replace("_", "/")[1:]: done for name, done in trials.items()}}))
        engine = shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", str(script)])
        command = [sys.executable, "-P", "-m", "trainer.cli", "--server", self._server, "--engine", engine]
        command += ["--checkpoint-dir", str(self.checkpoints)]
        process = self._stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        self._stack.callback(process.kill)
        return process

    def offered(self) -> list[dict[str, Any]]:
        """The checkpoints that workers have asked with."""
        return [offer for request in self.service.dispatches for offer in request["checkpoints"]]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    service = FakeService(assignment())
    with served(service) as server, ExitStack() as stack:
        yield Scene(tmp_path, server, service, stack)


def test_terminated_worker_saves_its_trial_and_the_next_one_offers_it(scene: Scene, tmp_path: Path) -> None:
    pid = tmp_path / "engine"
    saved = [{"evaluate": 0.5}, {"save": 1}, {"pid": str(pid)}, {"hang": True}]
    worker = scene.start(_0=saved)
    until(pid.exists)
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    assert scene.service.released == ["preempted"]
    assert is_dead(int(pid.read_text()))
    scene.service.assignments.append(assignment(attempt=2, resume=Resume(attempt=1, step=1)))
    second = scene.start(_0=[{"evaluate": 0.4, "final": True}])
    until(lambda: len(scene.service.outcomes) == 1)
    assert scene.offered()[0] == {"study_id": STUDY, "number": 0, "attempt": 1, "step": 1}
    assert [report.step for report in scene.service.reports] == [1, 2]
    assert scene.service.outcomes[0]["state"] == "COMPLETE"
    until(lambda: not list(scene.checkpoints.glob("*/*")))  # of a trial that has ended nothing is left
    second.terminate()
    assert second.wait(SECONDS) == 0


def test_checkpoint_outlives_a_worker_that_is_killed(scene: Scene, tmp_path: Path) -> None:
    pid = tmp_path / "engine"
    worker = scene.start(_0=[{"evaluate": 0.5}, {"save": 1}, {"pid": str(pid)}, {"hang": "deaf"}])
    until(pid.exists)
    worker.kill()
    worker.wait(SECONDS)
    until(lambda: is_dead(int(pid.read_text())))
    scene.start()
    until(lambda: bool(scene.offered()))
    assert scene.offered()[0]["step"] == 1


def test_report_in_flight_is_delivered_before_the_worker_ends(scene: Scene) -> None:
    is_reporting, may_answer = threading.Event(), threading.Event()

    def block(request: Any) -> None:
        if scene.service.calls[-1].endswith("/report"):
            is_reporting.set()
            may_answer.wait(SECONDS)

    scene.service.fault = block
    worker = scene.start(_0=[{"evaluate": 0.5}, {"save": 1}, {"hang": True}])
    assert is_reporting.wait(SECONDS)
    worker.terminate()
    may_answer.set()
    assert worker.wait(SECONDS) == 0
    assert [report.step for report in scene.service.reports] == [1]
    assert scene.service.released == ["preempted"]
    assert list(scene.checkpoints.glob("*/*/*/at-*"))


def test_trial_that_ends_by_itself_first_is_told(scene: Scene, tmp_path: Path) -> None:
    pid, go_on = tmp_path / "engine", tmp_path / "go_on"
    scene.service.assignments.append(assignment(number=1))
    worker = scene.start(_0=[{"pid": str(pid)}, {"until": str(go_on)}, *GOOD])
    until(pid.exists)
    worker.terminate()
    threading.Event().wait(0.1)
    go_on.touch()
    assert worker.wait(SECONDS) == 0
    assert [outcome["state"] for outcome in scene.service.outcomes] == ["COMPLETE"]
    assert (scene.service.released, len(scene.service.assignments)) == ([], 1)


class InProcess:
    """A worker in this process, told to end after its first report."""

    def __init__(self, tmp_path: Path, service: FakeService) -> None:
        self._service = service
        self._folder = tmp_path

    def run(self, *actions: dict[str, Any], trial: str = "*") -> int:
        return self.run_script({"trials": {"*": GOOD, trial: list(actions)}})

    def run_script(self, content: dict[str, Any]) -> int:
        script = self._folder / "script.json"
        script.write_text(json.dumps(content))
        command = [sys.executable, "-P", fake_engine.__file__, "--parent", str(os.getpid()), "--script", str(script)]
        folder = self._folder / "checkpoints"
        supervisor = Supervisor(
            ServiceClient("http://service", transport=self._service.transport),
            [*command, "--checkpoint-dir", str(folder)],
            worker_id="e" * 32,
            checkpoints=CheckpointFolder(folder),
            sleep=lambda seconds: None,
        )
        with ending.end_on_signals(supervisor):
            return supervisor.run()

    @staticmethod
    def terminate() -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_deaf_engine_is_killed_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "SAVE_SECONDS", 0.2)
    service = FakeService(assignment())
    worker = InProcess(tmp_path, service)

    def answer(report: Any) -> dict[str, Any]:
        worker.terminate()
        return {}

    service.answer = answer
    assert worker.run({"evaluate": 0.5}, {"hang": "deaf"}, trial="0") == 0
    assert service.released == ["preempted"]
    assert service.outcomes == []


def test_nothing_stays_of_an_engine_that_ignores_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "SAVE_SECONDS", 0.2)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    pids = [tmp_path / name for name in ("engine", "orphan")]
    engine, orphan = ({name.name: str(name)} for name in pids)
    service = FakeService(assignment())
    worker = InProcess(tmp_path, service)

    def answer(report: Any) -> dict[str, Any]:
        os.kill(int(pids[0].read_text()), signal.SIGTERM)  # as whoever ends a whole group of processes does
        worker.terminate()
        return {}

    service.answer = answer
    actions = [{"pid": engine["engine"]}, orphan, {"evaluate": 0.5}, {"hang": "deaf"}]
    assert worker.run(*actions, trial="0") == 0
    assert service.released == ["preempted"]
    until(lambda: all(is_dead(int(pid.read_text())) for pid in pids))
    assert list(scratch.iterdir()) == []


def test_lost_checkpoint_gives_the_trial_back_to_begin_anew(tmp_path: Path) -> None:
    service = FakeService(assignment(attempt=2), assignment(attempt=3, number=1))
    assert InProcess(tmp_path, service).run({"fail": "lost"}, trial="0/2") == 0
    assert service.released == ["checkpoint_lost"]
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE"]


def test_reports_of_an_earlier_attempt_count(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    service = FakeService(assignment())
    InProcess(tmp_path, service).run({"evaluate": 0.5}, {"save": 1}, {"fail": "diverged"}, trial="0/1")
    assert service.outcomes[0]["state"] == "PRUNED"
    assert not list(folder.glob("*/*"))
    saved = FakeService(assignment())
    worker = InProcess(tmp_path, saved)
    saved.answer = lambda report: worker.terminate() or {}
    worker.run({"evaluate": 0.5}, {"save": 1}, {"hang": True}, trial="0/1")
    resumed = FakeService(assignment(attempt=2, resume=Resume(attempt=1, step=1)))
    InProcess(tmp_path, resumed).run({"fail": "diverged"}, trial="0/2")
    assert resumed.outcomes[0]["state"] == "PRUNED"


def asked_to_pause(service: FakeService, step: int) -> None:
    """Let the service answer the evaluation of this step with a pause."""
    service.answer = lambda report: {"directive": "pause"} if report.step == step else {}


def test_paused_trial_is_saved_and_given_back_and_the_worker_takes_the_next_one(tmp_path: Path) -> None:
    resumed = assignment(attempt=2, resume=Resume(attempt=1, step=4), evaluate_at=[1, 4, 8])
    service = FakeService(assignment(evaluate_at=[1, 4, 8]), assignment(number=1), resumed)
    asked_to_pause(service, 4)
    actions = [{"evaluate": 0.5}, {"evaluate": 0.4, "at": 4}, {"evaluate": 0.3, "at": 8, "final": True}]
    script = {"trials": {"0/1": actions, "0/2": actions[2:], "*": GOOD}}
    assert InProcess(tmp_path, service).run_script(script) == 0
    [released] = service.released_with
    assert (released["reason"], released["speed"]) == ("paused", fake_engine.SPEED)
    assert [(report.lease_id[-1], report.step) for report in service.reports] == [
        ("0", 1),
        ("0", 4),
        ("1", 1),
        ("1", 2),
        ("0", 8),
    ]
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE", "COMPLETE"]
    assert len(service.workers) == 1  # one engine, and the same worker
    offered = [[(one["number"], one["step"]) for one in request["checkpoints"]] for request in service.dispatches]
    assert offered == [[], [(0, 4)], [(0, 4)], []]
    assert not list((tmp_path / "checkpoints").glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("instead", "offered"),
    [
        ([{"signal": 9}], []),
        ([{"save": 1}, {"signal": 9}], [(0, 1)]),
        ([{"garble": "what a library prints"}], []),
    ],
    ids=["killed before it is saved", "killed once it is saved", "nonsense"],
)
def test_engine_that_dies_while_it_pauses_costs_its_checkpoint_at_most(
    tmp_path: Path, instead: list[dict[str, Any]], offered: list[tuple[int, int]]
) -> None:
    service = FakeService(assignment(), assignment(number=1))
    asked_to_pause(service, 1)
    script = {"trials": {"0": [{"evaluate": 0.5, "pause": instead}], "1": [{"evaluate": 0.4, "at": 2, "final": True}]}}
    assert InProcess(tmp_path, service).run_script(script) == 0
    assert service.released == ["paused"]
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE"]
    assert [(one["number"], one["step"]) for one in service.dispatches[1]["checkpoints"]] == offered


def test_trial_that_ended_before_it_could_be_told_to_pause_is_paused(tmp_path: Path) -> None:
    service = FakeService(assignment())
    is_away = iter([True, True, True])

    def refuse(request: httpx2.Request) -> httpx2.Response | None:
        is_report = service.calls[-1].endswith("/report")
        return httpx2.Response(503) if is_report and next(is_away, False) else None

    service.fault = refuse
    service.answer = lambda report: {"directive": "pause"}  # final since the first step: what came after is in vain
    assert InProcess(tmp_path, service).run(*GOOD) == 0
    assert (service.batches, service.released, service.outcomes) == ([2], ["paused"], [])


def test_worker_that_scores_the_winner_deletes_what_paused_trials_have_left(tmp_path: Path) -> None:
    service = FakeService(assignment(), assignment("score", number=1))
    asked_to_pause(service, 1)
    assert InProcess(tmp_path, service).run({"evaluate": 0.5}) == 0
    assert service.dispatches[1]["checkpoints"] != []
    assert [outcome["kind"] for outcome in service.outcomes] == ["score"]
    assert list((tmp_path / "checkpoints").glob("*")) == []


def test_trial_that_is_cancelled_while_it_pauses_is_cancelled(tmp_path: Path) -> None:
    service = FakeService(assignment())

    def answer(report: Any) -> dict[str, Any]:
        service.directives[report.lease_id] = "cancel"
        return {"directive": "pause"}

    service.answer = answer
    script = {"trials": {"0": [{"evaluate": 0.5, "pause": [{"hang": "deaf"}]}]}}
    assert InProcess(tmp_path, service).run_script(script) == 0
    assert service.released == []
    assert service.outcomes[0]["failure"]["failure_class"] == "cancelled"


def test_full_disk_at_a_pause_ends_the_worker_and_gives_the_trial_back(tmp_path: Path) -> None:
    service = FakeService(assignment())
    asked_to_pause(service, 1)
    script = {"trials": {"0": [{"evaluate": 0.5, "pause": [{"fail": "disk_full"}]}]}}
    assert InProcess(tmp_path, service).run_script(script) == 1
    assert service.released == ["disk_full"]


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["before the release", "after the release"])
def test_worker_killed_around_its_release_leaves_the_checkpoint_to_the_next_one(scene: Scene, dies: str) -> None:
    reached, may_go_on = threading.Event(), threading.Event()

    def block(request: Any) -> httpx2.Response | None:
        if not scene.service.calls[-1].endswith("/release") or reached.is_set():
            return None
        if dies == "after the release":
            scene.service.released.append(json.loads(request.content)["reason"])
        reached.set()
        may_go_on.wait(SECONDS)
        return None if dies == "before the release" else httpx2.Response(204)

    scene.service.fault = block
    asked_to_pause(scene.service, 1)
    worker = scene.start(_0=[{"evaluate": 0.5}, {"evaluate": 0.4, "final": True}])
    try:
        assert reached.wait(SECONDS)
        worker.kill()
        worker.wait(SECONDS)
    finally:
        may_go_on.set()
    scene.start()
    until(lambda: bool(scene.offered()))
    assert scene.offered()[0] == {"study_id": STUDY, "number": 0, "attempt": 1, "step": 1}
    assert [report.step for report in scene.service.reports] == [1]
    assert scene.service.outcomes == []


def test_worker_told_to_end_while_it_pauses_gives_the_trial_back_as_paused(tmp_path: Path) -> None:
    service = FakeService(assignment())
    worker = InProcess(tmp_path, service)

    def answer(report: Any) -> dict[str, Any]:
        worker.terminate()
        return {"directive": "pause"}

    service.answer = answer
    assert worker.run({"evaluate": 0.5}, {"hang": True}, trial="0") == 0
    assert service.released == ["paused"]
    assert list((tmp_path / "checkpoints").glob("*/*/*/at-*"))
