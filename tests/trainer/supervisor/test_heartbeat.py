"""Leases are renewed, and what the service wants ended is passed on."""

import threading

import httpx2

from spezia.contract.protocol import Directive, HeldLease, WantedCheckpoint
from tests.fake_service import FakeService, wanted_checkpoint
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.heartbeat import Heartbeat, OnWanted

A = HeldLease(lease_id="a" * 32, token="0" * 32)
B = HeldLease(lease_id="b" * 32, token="1" * 32)


Heard = tuple[HeldLease, Directive]


def heart(
    service: FakeService, heard: list[Heard], seconds: float = 15.0, on_wanted: OnWanted = lambda wanted: None
) -> Heartbeat:
    client = ServiceClient("http://service", transport=service.transport)
    return Heartbeat(client, lambda lease, directive: heard.append((lease, directive)), on_wanted, seconds=seconds)


def test_all_held_leases_are_renewed_in_one_call() -> None:
    service, heard = FakeService(), list[Heard]()
    service.directives = {B.lease_id: "lost"}
    heartbeat = heart(service, heard)
    heartbeat.hold(A)
    heartbeat.hold(B)
    heartbeat.beat()
    assert heard == [(B, "lost")]
    assert service.calls == ["POST leases/heartbeat"]


def test_checkpoints_that_others_wait_for_are_passed_on() -> None:
    service, heard = FakeService(), list[WantedCheckpoint]()
    wanted = wanted_checkpoint()
    service.wanted = [wanted.model_dump()]
    heartbeat = heart(service, [], on_wanted=heard.append)
    heartbeat.hold(A)
    heartbeat.beat()
    assert heard == [wanted]


def test_a_service_that_knows_nothing_of_sent_checkpoints_is_understood() -> None:
    service, heard = FakeService(), list[WantedCheckpoint]()
    older = {"leases": [{"lease_id": A.lease_id, "directive": "continue", "expires_at": None}]}
    service.fault = lambda request: httpx2.Response(200, json=older)
    heartbeat = heart(service, [], on_wanted=heard.append)
    heartbeat.hold(A)
    heartbeat.beat()
    assert heard == []


def test_nothing_held_nothing_sent() -> None:
    service = FakeService()
    heartbeat = heart(service, [])
    heartbeat.hold(A)
    heartbeat.drop(A)
    heartbeat.beat()
    assert service.calls == []


def test_service_away_does_not_stop_the_heart() -> None:
    service, heard = FakeService(), list[Heard]()
    service.directives = {A.lease_id: "cancel"}
    service.fault = lambda request: httpx2.Response(503)
    heartbeat = heart(service, heard)
    heartbeat.hold(A)
    heartbeat.beat()
    assert heard == []
    service.fault = lambda request: None
    heartbeat.beat()
    assert heard == [(A, "cancel")]


def test_it_beats_by_itself_until_stopped() -> None:
    service, beaten = FakeService(), threading.Semaphore(0)
    service.fault = lambda request: beaten.release()
    heartbeat = heart(service, [], seconds=0.001)
    heartbeat.hold(A)
    heartbeat.start()
    assert all(beaten.acquire(timeout=10) for _ in range(3))
    heartbeat.stop()
