"""The loop that looks after workers on a cluster, beside a service on SQLite and a cluster that a test plays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.errors import Unauthorized
from service.launch.ray import RayWorkers
from service.launch.ray_actor import Report, versions_here
from service.launch.ray_cluster import ClusterUnavailable, Found, Gone, Needs
from service.launch.ray_plan import RayPlan
from service.lifecycle.keys.check_key import check_key
from service.lifecycle.workers.launched_workers import list_launched, retire_worker
from service.lifecycle.workers.placement_warning import PREFIX
from service.settings import Settings
from service.store.store import Store
from spezia.contract.key import KEY_VARIABLE
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

PLAN = RayPlan(address="", at_most=2, needs=Needs(num_cpus=1, num_gpus=0), arguments=("-m", "work"))
LAUNCHER = "ray:here"


class PlayedCluster:
    """A cluster that has as many places as a test says."""

    def __init__(self) -> None:
        self.n_places = 9
        self.is_lost = False
        self.actors: dict[str, Found] = {}
        self.environments: dict[str, dict[str, str]] = {}
        self.ended: list[str] = []
        self.created: list[tuple[object, ...]] = []

    def look(self) -> dict[str, Found]:
        if self.is_lost:
            raise ClusterUnavailable("no answer")
        for name in [name for name, found in self.actors.items() if found is None][: self.n_places]:
            self.actors[name] = Report(plan=PLAN.digest, versions=versions_here())
            self.n_places -= 1
        seen = dict(self.actors)
        self.actors = {name: found for name, found in self.actors.items() if not isinstance(found, Gone)}
        return seen

    def create(self, *described: Any) -> None:
        self.created.append(described)
        assert described[0] not in self.actors
        self.actors[described[0]] = None

    def start(self, name: str, worker_id: str, arguments: list[str], environment: dict[str, str]) -> Report:
        found = self.actors[name]
        assert isinstance(found, Report)
        if found.worker_id is None:
            found = self.actors[name] = replace(found, worker_id=worker_id)
            self.environments[name] = environment
            assert arguments == ["-m", "work", "--worker-id", worker_id]
        return found

    def end(self, name: str) -> None:
        self.ended.append(name)
        self.change(name, is_ending=True)

    def remove(self, name: str) -> None:
        self.actors.pop(name, None)

    def close(self) -> None:
        pass

    def change(self, name: str, **changes: Any) -> None:
        found = self.actors[name]
        assert isinstance(found, Report)
        self.actors[name] = replace(found, **changes)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a service on SQLite alone: what the loop asks of the database is tested on both kinds."""
    return Settings(home=tmp_path / "home", n_workers=0)


@pytest.fixture
def store(app: FastAPI) -> Store:
    store: Store = app.state.parts.store
    return store


@pytest.fixture
def cluster() -> PlayedCluster:
    return PlayedCluster()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def workers(store: Store, cluster: PlayedCluster, now: list[float]) -> RayWorkers:
    return started_again(store, cluster, now)


def started_again(store: Store, cluster: PlayedCluster, now: list[float]) -> RayWorkers:
    return RayWorkers(store, cluster, PLAN, LAUNCHER, clock=lambda: now[0])


@pytest.fixture
def study(http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    HandWorker(http).prepare()


def look(workers: RayWorkers, n_times: int = 1) -> None:
    for _ in range(n_times):
        workers.look_once()
        workers.tell_studies()


def worker_of(cluster: PlayedCluster, http: TestClient, name: str) -> HandWorker:
    found = cluster.actors[name]
    assert isinstance(found, Report)
    assert found.worker_id is not None
    return HandWorker(http, worker_id=found.worker_id)


def is_let_in(store: Store, environment: dict[str, str]) -> bool:
    try:
        check_key(store, environment[KEY_VARIABLE])
    except Unauthorized:
        return False
    return True


def warnings(http: TestClient) -> list[str]:
    shown: list[str] = http.get("/v1/studies/feedback").json()["warnings"]
    return [warning for warning in shown if warning.startswith(PREFIX)]


def test_nobody_is_made_without_work(workers: RayWorkers, cluster: PlayedCluster) -> None:
    look(workers, 3)
    assert cluster.created == []


@pytest.mark.usefixtures("study")
def test_work_gets_as_many_workers_as_may_be_each_with_a_key_that_only_its_start_tells(
    workers: RayWorkers, cluster: PlayedCluster, store: Store
) -> None:
    look(workers, 3)
    assert cluster.actors.keys() == cluster.environments.keys() == {"worker-0", "worker-1"}
    keys = {environment[KEY_VARIABLE] for environment in cluster.environments.values()}
    assert len(keys) == 2
    assert all(check_key(store, key).scopes == {"worker"} for key in keys)
    assert not [key for key in keys if key in repr(cluster.created)]


@pytest.mark.usefixtures("study")
def test_workers_are_found_again_by_a_service_that_was_killed_and_still_let_in(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient, now: list[float], clock: FakeClock
) -> None:
    look(workers, 2)
    worker_of(cluster, http, "worker-0").take()
    before = dict(cluster.actors)
    clock.advance(3600)
    again = started_again(store, cluster, now)
    look(again, 3)
    assert cluster.actors == before
    assert cluster.ended == []
    assert all(is_let_in(store, environment) for environment in cluster.environments.values())


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("why", ["it is of other settings", "it has no key any more"])
def test_a_stale_worker_ends_and_another_takes_its_place(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient, now: list[float], why: str
) -> None:
    look(workers, 2)
    stale = worker_of(cluster, http, "worker-0")
    environment = cluster.environments["worker-0"]
    if why == "it is of other settings":
        cluster.change("worker-0", plan="another")
    else:
        retire_worker(store, stale.worker_id)
    again = started_again(store, cluster, now)
    look(again, 2)
    assert cluster.ended == ["worker-0"]
    cluster.change("worker-0", exit_code=0)
    look(again, 3)
    assert not is_let_in(store, environment)
    assert worker_of(cluster, http, "worker-0").worker_id != stale.worker_id
    assert len(list_launched(store, LAUNCHER)) == 2


@pytest.mark.usefixtures("study")
def test_what_a_lost_worker_held_goes_to_another(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient
) -> None:
    look(workers, 2)
    environment = cluster.environments["worker-0"]
    assert worker_of(cluster, http, "worker-0").take()["number"] == 0
    cluster.actors["worker-0"] = Gone("its node has died")
    look(workers)
    assert not is_let_in(store, environment)
    assert http.get("/v1/studies/feedback/trials/0").json()["state"] == "WAITING"
    assert HandWorker(http).take()["number"] == 0


@pytest.mark.usefixtures("study")
def test_a_worker_of_a_cluster_that_was_made_anew_is_retired(
    workers: RayWorkers, cluster: PlayedCluster, store: Store
) -> None:
    look(workers, 2)
    environment = cluster.environments["worker-0"]
    cluster.actors.clear()
    look(workers, 2)
    assert not is_let_in(store, environment)
    assert len(cluster.actors) == 2


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("seconds", [59, 61])
def test_a_worker_of_which_no_actor_tells_is_retired_when_it_is_silent(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, now: list[float], clock: FakeClock, seconds: int
) -> None:
    look(workers, 2)
    environment = cluster.environments["worker-0"]
    # killed between the start of its worker and any look
    cluster.actors.clear()
    clock.advance(seconds)
    look(started_again(store, cluster, now))
    assert is_let_in(store, environment) == (seconds < 60)


@pytest.mark.usefixtures("study")
def test_studies_say_that_ray_has_no_place_until_it_has(
    workers: RayWorkers, cluster: PlayedCluster, http: TestClient, now: list[float]
) -> None:
    cluster.n_places = 0
    look(workers, 2)
    now[0] += 59
    look(workers)
    assert warnings(http) == []
    now[0] += 1
    look(workers, 2)
    assert warnings(http) == [f"{PREFIX}Ray has no place for one more, which asks for 1 CPU"]
    cluster.n_places = 2
    look(workers)
    assert warnings(http) == []


@pytest.mark.usefixtures("study")
def test_a_warning_of_a_service_that_was_killed_is_cleared_by_the_next(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient, now: list[float]
) -> None:
    cluster.n_places = 0
    look(workers, 2)
    now[0] += 60
    look(workers)
    assert len(warnings(http)) == 1
    http.post("/v1/studies/feedback/cancel")
    look(started_again(store, cluster, now))
    assert warnings(http) == []


@pytest.mark.usefixtures("study")
def test_a_cluster_that_does_not_answer_is_waited_for(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient, now: list[float]
) -> None:
    look(workers, 2)
    cluster.is_lost = True
    now[0] += 60
    with pytest.raises(ClusterUnavailable):
        workers.look_once()
    workers.tell_studies()
    assert warnings(http) == [f"{PREFIX}Ray does not answer"]
    assert len(list_launched(store, LAUNCHER)) == 2
    cluster.is_lost = False
    look(workers)
    assert warnings(http) == []


@pytest.mark.usefixtures("study")
def test_workers_that_fail_as_they_start_are_made_ever_later_and_studies_say_why(
    workers: RayWorkers, cluster: PlayedCluster, http: TestClient, now: list[float]
) -> None:
    for waits in (4, 16, 60):  # as two fail each time
        look(workers, 2)
        assert len(cluster.actors) == 2
        cluster.actors = {name: Gone("ModuleNotFoundError: trainer") for name in cluster.actors}
        n_made = len(cluster.created)
        look(workers, 2)
        now[0] += waits - 0.1
        look(workers)
        assert len(cluster.created) == n_made
        now[0] += 0.1
    assert warnings(http) == [f"{PREFIX}they fail on Ray as they start: ModuleNotFoundError: trainer"]
    look(workers, 2)
    now[0] += 60
    look(workers)
    assert warnings(http) == []


@pytest.mark.usefixtures("study")
def test_a_node_of_other_versions_gets_no_worker(
    workers: RayWorkers, cluster: PlayedCluster, now: list[float], http: TestClient
) -> None:
    for _ in range(3):
        workers.look_once()
        for name in cluster.actors:
            cluster.actors[name] = Report(plan=PLAN.digest, versions=versions_here() | {"python": "3.9"})
        look(workers)
        now[0] += 60
    assert cluster.environments == {}
    assert "a node has python 3.9" in warnings(http)[0]


@pytest.mark.usefixtures("study")
def test_of_two_services_one_starts_the_worker_and_the_other_keeps_no_key(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(workers)
    start, faster = cluster.start, [started_again(store, cluster, [1000.0])]

    def start_second(*arguments: Any) -> Report:
        if faster:
            faster.pop().look_once()
        return start(*arguments)

    monkeypatch.setattr(cluster, "start", start_second)
    look(workers)
    assert len(list_launched(store, LAUNCHER)) == 2
    assert all(is_let_in(store, environment) for environment in cluster.environments.values())


@pytest.mark.usefixtures("study")
def test_a_service_that_ends_leaves_the_workers_that_have_work(
    workers: RayWorkers, cluster: PlayedCluster, store: Store, http: TestClient
) -> None:
    look(workers, 2)
    worker_of(cluster, http, "worker-1").take()
    workers.start()
    workers.stop()
    assert cluster.ended == ["worker-0"]
    assert [is_let_in(store, cluster.environments[name]) for name in ("worker-0", "worker-1")] == [False, True]
