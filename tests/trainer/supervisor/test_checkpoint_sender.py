"""Checkpoints that other workers wait for are sent once, if they are here, fit and come in time."""

import threading
from pathlib import Path

import httpx2
import pytest

from spezia.contract.problem import Code
from spezia.contract.protocol import WantedCheckpoint
from tests.fake_service import FakeService, problem, wanted_checkpoint
from tests.trainer.trial.test_checkpoint_folder import marker, save
from trainer.supervisor.checkpoint_sender import CheckpointSender
from trainer.supervisor.client import ServiceClient
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.packed_checkpoint import pack

STUDY = "f" * 32
LEASE = wanted_checkpoint().lease_id


class SlowClock:
    """A clock that moves whenever it is looked at: a line on which each piece takes its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds_a_look = 0.0

    def __call__(self) -> float:
        self.now += self.seconds_a_look
        return self.now


class Holder:
    """A worker that holds checkpoints of trials 3 and 4, each of 2 MiB, and the service that it sends them to."""

    def __init__(self, folder: Path) -> None:
        self.service, self.clock = FakeService(), SlowClock()
        self.folder = CheckpointFolder(folder)
        for number in (3, 4):
            save(self.folder, marker(number, study_id=STUDY, step=2, size_bytes=2 * 2**20))
        client = ServiceClient("http://service", transport=self.service.transport)
        self.sender = CheckpointSender(client, self.folder, clock=self.clock)

    def send(self, wanted: WantedCheckpoint) -> None:
        self.sender.send(wanted, self.clock() + wanted.within_seconds)

    def content(self, number: int = 3) -> bytes:
        packed = pack(self.folder, STUDY, number, 1, 2)
        assert packed is not None
        return b"".join(packed.chunks())


@pytest.fixture
def holder(tmp_path: Path) -> Holder:
    return Holder(tmp_path)


def roomy(**changes: object) -> WantedCheckpoint:
    return wanted_checkpoint(**({"max_bytes": 10**9} | changes))


def another(**changes: object) -> WantedCheckpoint:
    """The checkpoint of trial 4."""
    return roomy(**({"number": 4, "lease_id": "d" * 32, "token": "d" * 31 + "a"} | changes))


def test_a_checkpoint_is_sent_by_the_thread_once_however_often_it_is_wanted(holder: Holder) -> None:
    came = threading.Semaphore(0)
    holder.service.fault = lambda request: came.release()
    holder.sender.start()
    for wanted in (roomy(), roomy(), another()):
        holder.sender.want(wanted)
    assert all(came.acquire(timeout=60) for _ in range(2))
    assert not came.acquire(timeout=0.05)
    assert holder.service.calls == [f"PUT leases/{LEASE}/checkpoint", f"PUT leases/{'d' * 32}/checkpoint"]
    assert holder.service.checkpoints == {LEASE: holder.content(), "d" * 32: holder.content(4)}


@pytest.mark.parametrize(
    "changes", [{"max_bytes": 2 * 2**20}, {"step": 1}, {"attempt": 2}, {"within_seconds": 0.0}], ids=str
)
def test_what_does_not_fit_or_is_not_here_or_comes_too_late_is_not_sent(
    holder: Holder, changes: dict[str, float]
) -> None:
    holder.send(roomy(**changes))
    assert holder.service.calls == []


def test_a_line_that_was_too_slow_is_not_used_for_what_is_worth_less(
    holder: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    holder.clock.seconds_a_look = 2.0
    holder.send(roomy(within_seconds=1000.0))
    assert LEASE in holder.service.checkpoints
    holder.send(another(within_seconds=6.0))
    assert caplog.messages[-1].endswith("sending it would take too long")
    holder.send(another(within_seconds=1000.0))  # the line may have become faster
    assert len(holder.service.calls) == 2


def test_an_upload_that_takes_too_long_is_given_up(holder: Holder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    holder.clock.seconds_a_look = 2.0
    holder.send(roomy(within_seconds=7.0))
    assert holder.service.checkpoints == {}
    assert "of 2097" in caplog.text
    assert "had gone when it was in vain" in caplog.text


def test_a_checkpoint_is_sent_again_after_an_outage_and_not_after_a_refusal(holder: Holder) -> None:
    holder.service.fault = lambda request: httpx2.Response(503)
    holder.send(roomy())
    holder.service.fault = lambda request: problem(409, Code.LEASE_LOST)
    holder.send(roomy())
    assert holder.service.calls == 2 * [f"PUT leases/{LEASE}/checkpoint"]
    assert holder.service.checkpoints == {}
