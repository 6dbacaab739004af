"""The adapter to Ray, on a real cluster of two nodes."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from service.launch.ray_actor import Report, versions_here
from service.launch.ray_cluster import ClusterUnavailable, Found, Gone, Needs, RayCluster
from tests.ray_nodes import RayNodes
from tests.service.launch.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NEEDS = Needs(num_cpus=1, num_gpus=0)
# lives until it is told to end
WORK = ["-c", "import sys; sys.stdin.read()"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes()
    yield nodes
    nodes.close()


@pytest.fixture
def connect(nodes: RayNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], RayCluster]]:
    for name, value in nodes.token_environment.items():
        monkeypatch.setenv(name, value)
    connected: list[RayCluster] = []

    def connect() -> RayCluster:
        connected.append(RayCluster(nodes.address, "of-the-test"))
        return connected[-1]

    yield connect
    with closing(RayCluster(nodes.address, "of-the-test")) as cluster:
        for name in cluster.look():
            cluster.remove(name)
    for cluster in connected:
        cluster.close()


def seen(cluster: RayCluster, name: str, is_so: Callable[[Any], object]) -> Any:
    """Look until what is found of an actor is so."""
    found: list[Found] = []

    def look() -> object:
        found[:] = [cluster.look().get(name)]
        return is_so(found[0])

    wait_until(look, 120.0)
    return found[0]


def test_actors_are_placed_named_once_and_outlive_who_made_them(connect: Callable[[], RayCluster]) -> None:
    cluster = connect()
    for name in ("one", "other", "third"):
        cluster.create(name, "a plan", NEEDS)
    cluster.create("one", "another plan", NEEDS)
    for name in ("one", "other"):
        assert seen(cluster, name, bool) == Report(plan="a plan", versions=versions_here())
    assert cluster.look()["third"] is None, "there is no place for it"
    started = cluster.start("one", "w", WORK, {"SPEZIA_API_KEY": "k"})
    assert (started.worker_id, started.exit_code) == ("w", None)
    cluster.close()
    again = connect()
    assert seen(again, "one", bool).worker_id == "w"
    assert again.start("one", "v", WORK, {}).worker_id == "w"
    again.end("one")
    assert seen(again, "one", lambda found: found.exit_code is not None).is_ending
    again.remove("one")
    again.remove("one")
    assert seen(again, "third", bool), "the place is free"
    assert seen(again, "one", lambda found: found is None) is None


def test_an_actor_whose_process_dies_is_told_of_once_and_not_made_again(connect: Callable[[], RayCluster]) -> None:
    cluster = connect()
    cluster.create("one", "a plan", NEEDS)
    seen(cluster, "one", bool)
    with suppress(ClusterUnavailable):  # it may die before it has answered
        cluster.start("one", "w", ["-c", "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"], {})
    assert isinstance(seen(cluster, "one", lambda found: isinstance(found, Gone)), Gone)
    assert "one" not in cluster.look()


def test_a_driver_that_dies_is_started_again(connect: Callable[[], RayCluster]) -> None:
    cluster = connect()
    cluster.create("one", "a plan", NEEDS)
    seen(cluster, "one", bool)
    process = cluster._process
    assert process is not None
    process.kill()
    with pytest.raises(ClusterUnavailable, match="connection was lost"):
        cluster.look()
    assert seen(cluster, "one", bool).plan == "a plan"


def test_a_cluster_that_is_gone_does_not_answer_and_takes_nobody_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = RayNodes()
    for name, value in nodes.token_environment.items():
        monkeypatch.setenv(name, value)
    with closing(nodes), closing(RayCluster(nodes.address, "of-the-test")) as cluster:
        assert cluster.look() == {}
        nodes.close()
        for _ in range(2):
            with pytest.raises(ClusterUnavailable, match=nodes.address):
                cluster.look()
