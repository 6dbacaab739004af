"""A study on a Ray cluster of two nodes: a node is killed in its middle, and the service too."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from service.launch.ray_cluster import RayCluster
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.workers.launched_workers import database_identity, list_launched
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.client import Client
from spezia.common.home_lock import find
from spezia.contract.key import Scope
from tests.e2e.test_kill import assert_whole
from tests.faults.invariants import violations
from tests.ray_nodes import ROOT, RayNodes
from tests.trainer import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_TRIALS = 12

Seen = TypeVar("Seen")


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes()
    yield nodes
    nodes.close()


class Serving:
    """One service process after another, on one home and one port."""

    def __init__(self, folder: Path, nodes: RayNodes) -> None:
        self.home = folder / "home"
        self.output = folder / "output"
        self._nodes = nodes
        self._folder = folder
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, address: str | None = None, **environment: str) -> "Serving":
        command = [sys.executable, "-P", "-m", "spezia.cli", "serve", "--port", str(self._port)]
        command += ["--workers", "2", "--launcher", "ray", "--ray-address", address or self._nodes.address]
        command += ["--data-root", str(self._folder)]
        variables = {"SPEZIA_HOME": str(self.home), "SPEZIA_RAY_NUM_GPUS": "0", "PYTHONPATH": str(ROOT)}
        if self._port:
            variables["SPEZIA_WORKER_URL"] = f"http://127.0.0.1:{self._port}"
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=os.environ | self._nodes.token_environment | variables | environment,
                stdout=output,
                stderr=output,
            )
        return self

    def on_port(self, port: int) -> "Serving":
        self._port = port
        return self

    def url(self) -> str:
        process = self._process
        assert process is not None

        def look() -> str | None:
            assert process.poll() is None, self.output.read_text()
            running = find(self.home)
            return running.url if running is not None and running.pid == process.pid else None

        return eventually(look)

    def end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(120)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(180)


@pytest.fixture
def serving(tmp_path: Path, nodes: RayNodes) -> Iterator[Serving]:
    serving = Serving(tmp_path, nodes)
    yield serving
    serving.end(signal.SIGKILL)


def eventually(look: Callable[[], Seen | None], seconds: float = 300.0) -> Seen:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"nothing came of it in {seconds:g} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_study_outlives_a_node_and_the_service(
    serving: Serving, nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in nodes.token_environment.items():
        monkeypatch.setenv(name, value)
    tiny.save_bert(tmp_path / "model")
    for seed, part in enumerate(("train", "validation", "test")):
        tiny.write_csv(tmp_path / f"{part}.csv", tiny.make_examples(1_000, seed))
    spec = tiny.make_spec(
        name="on-ray",
        model={"name": str(tmp_path / "model")},
        data={part: str(tmp_path / f"{part}.csv") for part in ("train", "validation", "test")},
        fixed={"epochs": 8},
        sampler={"name": "random"},
        n_trials=N_TRIALS,
    )
    engine = open_engine(Settings(home=serving.home).database)
    migrate(engine)
    with closing(Store(engine, DatabaseClock())) as store:
        namespace = f"spezia-{database_identity(store)}"
        serving.on_port(free_port()).start()
        with Client(serving.url(), create_key(store, "alice", [Scope.ADMIN])) as client:
            client.create_study(spec)
            eventually(lambda: client.get_study("on-ray").n_finished >= 2)

            def busy() -> set[str]:
                return {worker.worker_id for worker in list_launched(store, f"ray:{namespace}") if worker.is_busy}

            eventually(lambda: len(busy()) == 2)
            nodes.kill_second()
            # Ray says so after a while, and its worker is retired
            eventually(lambda: len(list_launched(store, f"ray:{namespace}")) == 1)
            (left,) = eventually(busy)
            serving.end(signal.SIGKILL)
            serving.start()
            assert serving.url()
            eventually(lambda: client.get_study("on-ray").finished_at)
            assert_whole(client, client.get_study("on-ray"))
            attempts = [client.get_trial("on-ray", number).attempts for number in range(N_TRIALS)]
            told = [[one.end for one in of_trial if one.end in ("COMPLETE", "PRUNED")] for of_trial in attempts]
            assert [len(ends) for ends in told] == [1] * N_TRIALS
            assert attempts[-1][-1].worker_id == left, "it was found again, and let in"
        with closing(RayCluster(nodes.address, namespace)) as cluster:
            eventually(lambda: not cluster.look())
        assert serving.end(signal.SIGTERM) == 0
        assert list_launched(store, f"ray:{namespace}") == []
    assert violations(engine, serving.home / "artifacts", is_quiet=True) == []
    engine.dispose()


def test_an_address_where_nobody_is_and_a_wrong_token_are_refused(serving: Serving, nodes: RayNodes) -> None:
    serving.on_port(free_port())
    assert serving.start(f"127.0.0.1:{free_port()}").wait() == 1
    assert re.search(r"spezia: Ray at 127.0.0.1:\d+: Connection refused", serving.output.read_text())
    serving.output.unlink()
    assert serving.start(RAY_AUTH_TOKEN="w" * 43).wait() == 1
    assert re.search(f"spezia: Ray at {nodes.address}: .* token", serving.output.read_text())
    assert "w" * 43 not in serving.output.read_text()
