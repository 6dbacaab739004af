"""Insisting, spooling and stalls, on a clock that is moved by hand."""

from itertools import islice

import httpx2
import pytest

from tests.fake_service import FakeService, report
from tests.trainer.supervisor.clock import Clock
from trainer.supervisor.client import ServiceClient, ServiceUnavailable
from trainer.supervisor.retry import OutOfContact, Retry, waits
from trainer.supervisor.spool import Spool


def away(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(503)


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


def unavailable() -> None:
    raise ServiceUnavailable("away")
