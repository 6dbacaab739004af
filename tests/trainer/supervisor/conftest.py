"""A service in memory, and calls to it on a clock that is moved by hand."""

import pytest

from tests.fake_service import FakeService
from tests.trainer.supervisor.clock import Clock
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.retry import Retry


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
