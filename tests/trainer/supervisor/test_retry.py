"""Insisting, spooling and stalls, on a clock that is moved by hand."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import httpx2
import pytest

from spezia.contract.protocol import Report
from tests.fake_service import FakeService
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceUnavailable
from trainer.supervisor.retry import OutOfContact, Retry, waits
from trainer.supervisor.spool import Spool
from trainer.supervisor.stall_detector import StallDetector


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def away(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(503)


def report(step: int) -> Report:
    return Report(
        lease_id="a" * 32,
        token="b" * 32,
        step=step,
        epoch=1.0,
        optimizer_steps=1,
        value=0.5,
        metrics={},
        final=False,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService, clock: Clock) -> ServiceClient:
    return ServiceClient("http://service", transport=service.transport, clock=clock)


@pytest.fixture
def retry(client: ServiceClient, clock: Clock) -> Retry:
    return Retry(client, give_up_seconds=1800.0, clock=clock, sleep=clock.sleep)


@pytest.fixture
def spool(client: ServiceClient, retry: Retry, clock: Clock) -> Spool:
    return Spool(client, retry, clock=clock)


def test_waits_double_up_to_ten_seconds() -> None:
    assert list(islice(waits(lambda: 1.0), 8)) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert next(waits(lambda: 0.0)) == 0.125


def test_insisting_ends_when_the_service_is_back(retry: Retry) -> None:
    tries: list[int] = []

    def call() -> str:
        tries.append(1)
        if len(tries) < 4:
            raise ServiceUnavailable("away")
        return "here"

    assert retry.insist(call) == "here"


def test_insisting_gives_up_after_half_an_hour(retry: Retry, clock: Clock) -> None:
    with pytest.raises(OutOfContact):
        retry.insist(unavailable)
    assert 1800 < clock.now <= 1810


def test_insisting_gives_up_on_one_verb_while_others_are_answered(
    retry: Retry, clock: Clock, client: ServiceClient, service: FakeService
) -> None:
    spool = Spool(client, retry, clock=clock)

    def call() -> None:
        spool.offer(report(1))  # answered: contact
        raise ServiceUnavailable("500")

    with pytest.raises(OutOfContact):
        retry.insist(call)


def test_contact_is_checked_on_both_sides_of_the_limit(retry: Retry, clock: Clock) -> None:
    clock.now = 1800.0
    retry.check_contact()
    clock.now = 1800.1
    with pytest.raises(OutOfContact):
        retry.check_contact()


def test_reports_wait_in_order_and_travel_together(spool: Spool, service: FakeService, clock: Clock) -> None:
    service.fault = away
    assert not spool.offer(report(1)).should_prune
    service.fault = lambda request: None
    service.answer = lambda r: {"should_prune": r.step == 1, "reason": "behind"}
    clock.now = 0.1  # too early to try again
    assert not spool.offer(report(2)).should_prune
    assert service.reports == []
    clock.now = 1.0
    verdict = spool.offer(report(3))
    assert verdict.should_prune
    assert verdict.reason == "behind"
    assert [r.step for r in service.reports] == [1, 2, 3]
    assert service.batches == [3]


def test_more_than_a_batch_travels_in_several(spool: Spool, service: FakeService) -> None:
    service.fault = away
    for step in range(1, 502):
        spool.offer(report(step))
    service.fault = lambda request: None
    service.answer = lambda r: {"should_prune": r.step == 7, "keep_model": r.step == 502}
    verdict = spool.flush(report(502))
    assert (verdict.should_prune, verdict.keep_model) == (True, True)
    assert service.batches == [200, 200, 102]


@pytest.mark.parametrize("send", [Spool.offer, Spool.flush])
def test_lost_lease_is_raised(spool: Spool, service: FakeService, send: Callable[..., Any]) -> None:
    service.answer = lambda r: {"directive": "lost"}
    with pytest.raises(LeaseLost):
        send(spool, report(1))


def test_empty_spool_sends_nothing(spool: Spool, service: FakeService) -> None:
    spool.flush()
    assert service.calls == []


def test_stall_is_ten_minutes_or_twenty_steps(clock: Clock) -> None:
    detector = StallDetector(clock=clock)
    assert detector.seconds_left() == 600.0
    for seconds in (1.0, 29.0, 100.0):
        clock.now += seconds
        detector.heard()
    assert detector.seconds_left() == 600.0  # the median step took 29 s
    clock.now += 100.0
    detector.heard()
    assert detector.seconds_left() == 20 * (29.0 + 100.0) / 2


def test_time_of_others_is_not_held_against_the_engine(clock: Clock) -> None:
    detector = StallDetector(clock=clock)
    detector.heard()
    clock.now += 5_000.0
    assert detector.seconds_left() < 0
    detector.resume()
    assert detector.seconds_left() == 600.0
    assert detector.seconds == 600.0


def unavailable() -> None:
    raise ServiceUnavailable("away")
