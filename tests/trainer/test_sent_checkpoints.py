"""Workers that share no folder send each other checkpoints: with a scripted engine, and with a tiny model and the real
service."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from spezia.contract.assignments import Resume, SentCheckpoint
from spezia.contract.problem import Code
from tests.fake_service import FakeService, assignment, problem, wanted_checkpoint
from tests.trainer.supervisor.test_supervisor import GOOD
from tests.trainer.test_preempt import InProcess, Scene
from tests.trainer.test_preempt import scene as scene
from tests.trainer.test_worker_process import SECONDS, until

SENT = "c" * 32


class Busy(FakeService):
    """Trial 0 pauses at its first evaluation; its checkpoint is wanted as soon as its worker has trial 1."""

    def __init__(self) -> None:
        super().__init__(assignment(), assignment(number=1))
        self.answer = lambda report: {"directive": "continue" if int(report.lease_id, 16) else "pause"}
        self.fault = self._want

    def _want(self, request: httpx2.Request) -> None:
        if request.url.path.endswith("/release"):
            self.wanted = [wanted_checkpoint(number=0, step=1).model_dump()]


def goes_on(content: bytes, **sent: Any) -> FakeService:
    """A service that hands out trial 0, to go on from a checkpoint that was sent, and another trial."""
    found = {"size_bytes": len(content), "sha256": "0" * 64} | sent
    resume = Resume(attempt=1, step=1, sent=SentCheckpoint.model_validate(found))
    service = FakeService(assignment(attempt=2, resume=resume), assignment(number=1))
    service.checkpoints = {"0" * 32: content}
    return service


def test_a_busy_worker_sends_a_checkpoint_and_another_one_goes_on_from_it(tmp_path: Path) -> None:
    is_sent = tmp_path / "sent"
    holder = Busy()

    class Noted(dict[str, bytes]):
        def __setitem__(self, lease_id: str, content: bytes) -> None:
            super().__setitem__(lease_id, content)
            is_sent.touch()

    holder.checkpoints = Noted()
    (tmp_path / "a").mkdir()
    script = {"0": [{"evaluate": 0.5}], "1": [{"until": str(is_sent)}, *GOOD]}
    assert InProcess(tmp_path / "a", holder).run_script({"trials": script}) == 0
    assert [outcome["state"] for outcome in holder.outcomes] == ["COMPLETE"]
    content = holder.checkpoints[SENT]

    receiver = goes_on(content, sha256=hashlib.sha256(content).hexdigest())
    (tmp_path / "b").mkdir()
    assert InProcess(tmp_path / "b", receiver).run({"evaluate": 0.4, "final": True}, trial="0") == 0
    assert [(report.step, report.value) for report in receiver.reports] == [(2, 0.4), (1, 0.5), (2, 0.4)]
    assert receiver.released == []


@pytest.mark.parametrize("how", ["refused", "damaged"])
def test_a_checkpoint_that_cannot_be_fetched_gives_the_trial_back_to_begin_anew(tmp_path: Path, how: str) -> None:
    service = goes_on(b"not what was sent")
    if how == "refused":
        gone = problem(404, Code.NO_CHECKPOINT)
        service.fault = lambda request: gone if request.url.path.endswith("/checkpoint") else None
    assert InProcess(tmp_path, service).run(*GOOD) == 0
    assert service.released == ["checkpoint_lost"]
    assert [outcome["state"] for outcome in service.outcomes] == ["COMPLETE"]


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_waits_for_no_checkpoint_on_its_way(scene: Scene, tmp_path: Path) -> None:
    is_sending, may_answer, pid = threading.Event(), threading.Event(), tmp_path / "engine"

    def hang(request: httpx2.Request) -> None:
        if request.url.path.endswith("/release"):
            scene.service.wanted = [wanted_checkpoint(number=0, step=1).model_dump()]
        if request.url.path.endswith("/checkpoint"):
            is_sending.set()
            may_answer.wait(SECONDS)

    scene.service.assignments.append(assignment(number=1))
    scene.service.answer = lambda report: {"directive": "pause"}
    scene.service.fault = hang
    process = scene.start(_0=[{"evaluate": 0.5}], _1=[{"pid": str(pid)}, {"hang": True}])
    try:
        assert is_sending.wait(SECONDS)
        until(pid.exists)
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert scene.service.released == ["paused", "preempted"]
    finally:
        may_answer.set()
