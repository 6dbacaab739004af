"""A head of Ray with one GPU that it counts: parts of it, the environment of actors, and a head that comes back."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.launch.ray import RayWorkers
from service.launch.ray_cluster import ClusterUnavailable, RayCluster
from service.launch.ray_plan import BadRaySettings, RayPlan, ray_plan
from service.lifecycle.workers.launched_workers import list_launched
from service.settings import Settings
from service.store.store import Store
from spezia.contract.key import KEY_VARIABLE
from tests.ray_nodes import RayHead
from tests.service.hand_worker import HandWorker, spec
from tests.service.launch.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMESPACE = "of-the-test"
KEY = "spz_0123456789ab_" + "k" * 43
TELL = """
import json, os, sys
from pathlib import Path
actor = Path(f"/proc/{os.getppid()}/environ").read_bytes().decode()
told = {"arguments": sys.argv[1:], "environment": dict(os.environ), "actor": actor}
partial = Path(os.environ["TOLD"] + ".partial")
partial.write_text(json.dumps(told))
partial.rename(os.environ["TOLD"])
sys.stdin.read()
"""
"""What is run in place of a worker: it says what it was started with, and lives until it is told to end."""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with closing(RayHead(num_gpus=1)) as head:
        yield head


@pytest.fixture
def cluster(head: RayHead, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    let_in(head, monkeypatch)
    with closing(RayCluster(head.address, NAMESPACE)) as cluster:
        yield cluster
        for name in cluster.look():
            cluster.remove(name)


def let_in(head: RayHead, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in head.token_environment.items():
        monkeypatch.setenv(name, value)


def plan_for(head: RayHead, **settings: Any) -> RayPlan:
    described = {"launcher": "ray", "ray_address": head.address, "n_workers": 3, "ray_num_cpus": 0.25, **settings}
    return ray_plan(Settings(**described), "http://127.0.0.1:8765", os.environ)


def started(cluster: RayCluster, plan: RayPlan, name: str, told: Path) -> dict[str, Any]:
    """What the worker of an actor was started with, once the actor has a place."""
    cluster.create(name, plan.digest, plan.needs)
    wait_until(lambda: cluster.look().get(name), 120)
    arguments = ["-c", TELL, *plan.arguments]
    cluster.start(name, f"worker of {name}", arguments, {**plan.environment, "TOLD": str(told), KEY_VARIABLE: KEY})
    wait_until(told.exists)
    said: dict[str, Any] = json.loads(told.read_text())
    return said


def test_two_workers_share_a_gpu_with_a_declared_share_of_its_memory_and_a_third_waits(
    head: RayHead, cluster: RayCluster, tmp_path: Path
) -> None:
    plan = plan_for(head, home=tmp_path, ray_num_gpus=0.5, ray_gpu_memory=0.4)
    for name in ("one", "other"):
        said = started(cluster, plan, name, tmp_path / name)
        assert said["environment"]["CUDA_VISIBLE_DEVICES"] == "0"
        assert said["arguments"][said["arguments"].index("--gpu-memory") + 1] == "0.4"
    cluster.create("third", plan.digest, plan.needs)
    for _ in range(3):
        assert cluster.look()["third"] is None, "there is no place for it"
    cluster.remove("one")
    wait_until(lambda: cluster.look().get("third"), 120)


def test_a_runtime_environment_reaches_workers_and_holds_no_key(
    head: RayHead, cluster: RayCluster, tmp_path: Path
) -> None:
    plan = plan_for(head, home=tmp_path, ray_num_gpus=0, ray_runtime_env={"env_vars": {"SPICE": "saffron"}})
    said = started(cluster, plan, "one", tmp_path / "told")
    assert said["environment"]["SPICE"] == "saffron"
    assert said["environment"][KEY_VARIABLE] == KEY
    assert "SPICE=saffron" in said["actor"]
    assert KEY not in said["actor"]
    with pytest.raises(BadRaySettings, match=f"env_vars.{KEY_VARIABLE} holds a key"):
        plan_for(head, home=tmp_path, ray_runtime_env={"env_vars": {KEY_VARIABLE: KEY}})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a service on SQLite alone: the database has no part in it."""
    return Settings(home=tmp_path / "home", n_workers=0)


def is_answering(cluster: RayCluster) -> bool:
    try:
        cluster.look()
    except ClusterUnavailable:
        return False
    return True


def test_a_head_that_comes_back_on_its_port_gets_workers_again(
    http: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    store: Store = app.state.parts.store
    assert http.post("/v1/studies", json=spec()).status_code == 201
    HandWorker(http).prepare()
    with closing(RayHead()) as head:
        let_in(head, monkeypatch)
        plan = plan_for(head, home=settings.home, ray_num_gpus=0, n_workers=1)
        plan = replace(plan, arguments=("-c", "import sys; sys.stdin.read()"))
        with closing(RayCluster(head.address, NAMESPACE)) as cluster:
            workers = RayWorkers(store, cluster, plan, "ray:here")

            def launched(is_so: Callable[[set[str]], bool]) -> Callable[[], bool]:
                def look() -> bool:
                    try:
                        workers.look_once()
                    except ClusterUnavailable:
                        return False
                    return is_so({worker.worker_id for worker in list_launched(store, "ray:here")})

                return look

            wait_until(launched(lambda ids: len(ids) == 1), 120)
            (first,) = list_launched(store, "ray:here")
            head.kill()
            wait_until(lambda: not is_answering(cluster))
            head.start()
            wait_until(launched(lambda ids: len(ids) == 1 and first.worker_id not in ids), 240)
