"""The log travels now and then, and is worth waiting for but not a trial."""

import os

import httpx2
import pytest

from spezia.contract.problem import Code
from tests.fake_service import FakeService, assignment, problem
from trainer.supervisor.client import LeaseLost, ServiceClient
from trainer.supervisor.delivery import Delivery
from trainer.supervisor.engine_log import EngineLog
from trainer.supervisor.retry import Retry


class Scene:
    """The log of an engine that prints what a test writes, and its delivery."""

    def __init__(self) -> None:
        self.now = 0.0
        self.service = FakeService()
        self._printed = EngineLog()
        client = ServiceClient("http://service", transport=self.service.transport)
        self.delivery = Delivery(
            assignment(), self._printed, client=client, retry=Retry(client), clock=lambda: self.now
        )

    def print(self, text: str) -> None:
        os.write(self._printed.fileno(), text.encode())

    @property
    def log(self) -> str | None:
        return self.service.logs.get(f"{0:032x}")


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_log_is_passed_on_every_fifteen_seconds(scene: Scene) -> None:
    scene.print("one\n")
    scene.now = 14.9
    scene.delivery.pass_on_log()
    assert scene.log is None
    scene.now = 15.0
    scene.delivery.pass_on_log()
    assert scene.log == "one\n"
    scene.print("two\n")
    scene.delivery.pass_on_log()
    assert scene.log == "one\n"


def test_log_of_a_trial_that_ends_is_passed_on_at_once(scene: Scene) -> None:
    scene.print("one\n")
    scene.delivery.pass_on_log(at_once=True)
    assert scene.log == "one\n"
    scene.print("two\n")
    scene.now = 14.9
    scene.delivery.pass_on_log()
    assert scene.log == "one\n"


def test_log_waits_for_a_service_that_is_away(scene: Scene) -> None:
    scene.print("one\n")
    scene.service.fault = lambda request: httpx2.Response(503)
    scene.now = 15.0
    scene.delivery.pass_on_log()
    scene.service.fault = lambda request: None
    scene.print("two\n")
    scene.now = 30.0
    scene.delivery.pass_on_log()
    assert scene.log == "one\ntwo\n"


def test_refused_log_is_dropped(scene: Scene) -> None:
    scene.print("one\n")
    scene.service.fault = lambda request: problem(413, Code.TOO_LARGE)
    scene.now = 15.0
    scene.delivery.pass_on_log()
    scene.service.fault = lambda request: None
    scene.now = 30.0
    scene.delivery.pass_on_log()
    assert scene.log is None


def test_lost_lease_is_raised(scene: Scene) -> None:
    scene.print("one\n")
    scene.service.fault = lambda request: problem(409, Code.LEASE_LOST)
    scene.now = 15.0
    with pytest.raises(LeaseLost):
        scene.delivery.pass_on_log()
