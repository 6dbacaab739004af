"""Two services on one database give out the trials of one study."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.failpoints import armed
from service.search.propose import proposer as proposing
from service.settings import Settings
from tests.conftest import FakeClock
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec


@pytest.fixture
def other(settings: Settings, clock: FakeClock) -> Iterator[TestClient]:
    """The second service."""
    app = create_app(settings, clock)
    yield TestClient(app, base_url=URL)
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the trials that were proposed, by either service."""
    numbers = []
    whole = proposing.propose

    def noted(request: Any) -> Any:
        numbers.append(request.number)
        return whole(request)

    monkeypatch.setattr(proposing, "propose", noted)
    return numbers


class AtOnce:
    """Threads that are faster than whoever asks them."""

    def submit(self, act: Callable[..., Any], *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(act(*given))
        return done

    def shutdown(self, **_how: Any) -> None:
        pass


def start(http: TestClient, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    HandWorker(http).prepare()


def taken_meanwhile(service: TestClient) -> Callable[[], None]:
    """Let a worker of ``service`` have the trial that another service has proposed and not granted yet."""

    def take() -> None:
        with armed("dispatch.after_propose", lambda: None):
            HandWorker(service).take()

    return take


def test_a_proposal_that_comes_too_late_is_made_again_once(
    http: TestClient, other: TestClient, worker: HandWorker, proposed: list[int]
) -> None:
    start(http, n_trials=5)
    with armed("dispatch.after_propose", taken_meanwhile(other)):
        assert worker.take()["number"] == 1
    assert proposed == [0, 0, 1]


def test_what_may_take_seconds_is_not_proposed_under_the_lock(
    http: TestClient, other: TestClient, worker: HandWorker, proposed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.lifecycle.leases.propose_next.needs_torch", lambda *_: True)
    for service in (http, other):
        monkeypatch.setattr(service.app.state.parts.proposer, "_for_helper", AtOnce())
    start(http)
    with armed("dispatch.after_propose", taken_meanwhile(other)):
        assert worker.dispatch() == [], "each time the other one was first"
    assert proposed == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_two_services_at_once_grant_what_one_grants_alone(http: TestClient, other: TestClient, sampler: str) -> None:
    space = {"dropout": {"type": "float", "low": 0.0, "high": 0.4, "step": 0.01}}
    changes = {"search_space": space, "sampler": {"name": sampler}, "n_trials": 16}

    def take_eight(service: TestClient) -> dict[int, Any]:
        held = [HandWorker(service).take() for _ in range(8)]
        return {one["number"]: one["params"] for one in held}

    start(http, name="alone", **changes)
    alone = take_eight(http) | take_eight(http)
    start(http, name="shared", **changes)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(take_eight, (http, other))
    assert not first.keys() & second.keys()
    assert first | second == alone
