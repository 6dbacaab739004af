"""Reports wait for a service that is away, in order, and none is lost."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from spezia.contract.problem import Code
from tests.fake_service import FakeService, report
from tests.trainer.supervisor.clock import Clock
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceRefused
from trainer.supervisor.retry import Retry
from trainer.supervisor.spool import Spool


def away(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(503)


@pytest.fixture
def spool(client: ServiceClient, retry: Retry, clock: Clock) -> Spool:
    return Spool(client, retry, clock=clock)


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


def test_a_refused_report_is_raised_and_the_others_of_its_batch_are_not_sent_again(
    spool: Spool, service: FakeService
) -> None:
    refusal = {"status": 409, "code": Code.REPORT_CONFLICT, "detail": "step 2 was reported before"}
    service.fault = away
    spool.offer(report(1))
    service.fault = lambda request: None
    service.answer = lambda r: {"refusal": refusal if r.step == 2 else None}
    with pytest.raises(ServiceRefused, match="409 report-conflict: step 2 was reported before"):
        spool.flush(report(2))
    spool.flush()
    assert service.batches == [2]


def test_empty_spool_sends_nothing(spool: Spool, service: FakeService) -> None:
    spool.flush()
    assert service.calls == []
