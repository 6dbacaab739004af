"""What docker-compose.yml and the Dockerfile start, started as plain processes: a study runs from the first key to the
best parameters on a real PostgreSQL, with a worker that has an empty folder of its own."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from spezia.client import Client
from tests import deployed, postgres
from tests.e2e.test_kill import ROOT, eventually
from tests.trainer import tiny
from tests.trainer.conftest import pristine as pristine

PASSWORD = "p@ss/w:rd?"
SECONDS = 120.0


class Composed:
    """The containers of docker-compose.yml, whose folders, addresses and port are those of a test."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        """``database`` is the URL of PostgreSQL, of which the compose file names user and database too."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = str(listener.getsockname()[1])
        url = make_url(database)
        host = url.query.get("host") or f"{url.host}:{url.port}"
        self._folder = folder
        self._stack = stack
        self._here = {
            "postgres:5432/spezia": f"/spezia?host={host}" if url.query.get("host") else f"{host}/spezia",
            "http://service:8765": f"http://127.0.0.1:{self.port}",
            "127.0.0.1:8765": f"127.0.0.1:{self.port}",
            "0.0.0.0": "127.0.0.1",
            "/run/secrets/": f"{folder}/secrets/",
            **{f"/{name}": f"{folder}/{name}" for name in ("data", "keys", "cache", "examples")},
            "/opt/spezia/bin:$PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for name in ("data", "keys", "cache", "examples", "secrets", "home"):
            (folder / name).mkdir()
        (folder / "secrets/postgres_password").write_text(f"{PASSWORD}\n")

    def start(self, name: str, *instead: str) -> subprocess.Popen[bytes]:
        """Start the container of a service, or ``instead`` in it, as `docker compose exec` does."""
        container = deployed.of_compose(name)
        # the port is the file's own, and inside a container always free
        given = container.environment | {"SPEZIA_PORT": self.port}
        environment = {variable: self._here_of(value) for variable, value in given.items()}
        environment |= {"HOME": str(self._folder / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        argv = [self._here_of(word) for word in instead or container.argv]
        log = self._stack.enter_context((self._folder / f"{name}.log").open("ab"))
        program = shutil.which(argv[0], path=environment["PATH"])
        assert program is not None
        process = subprocess.Popen([program, *argv[1:]], env=environment, stderr=log, stdout=subprocess.PIPE)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    def is_healthy(self, name: str) -> bool:
        """Ask as Docker does."""
        return self.start(name, *deployed.of_compose(name).health).wait(SECONDS) == 0

    def _here_of(self, word: str) -> str:
        if word.startswith("/") or "://" in word or word == "0.0.0.0" or "urlopen" in word or "$PATH" in word:
            for there, here in self._here.items():
                if there in word:
                    return word.replace(there, here)
        return word


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with postgres.own_server() as server, ExitStack() as stack:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE spezia LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE spezia OWNER spezia")
        yield Composed(tmp_path, server.url, stack)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_study_runs_through_what_the_compose_file_starts(composed: Composed, pristine: Path, tmp_path: Path) -> None:
    assert composed.start("key").wait(SECONDS) == 0
    assert (tmp_path / "keys/worker").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "keys/worker").read_text()
    assert composed.start("key").wait(SECONDS) == 0  # as at each `docker compose up`
    assert (tmp_path / "keys/worker").read_text() == before
    service = composed.start("service")
    eventually(lambda: composed.is_healthy("service"))
    made = composed.start("service", "spezia", "key", "create", "alice", "--scope", "write")
    key = made.communicate(timeout=SECONDS)[0].decode().strip()
    worker = composed.start("worker")
    with Client(f"http://127.0.0.1:{composed.port}", key) as client:
        model = client.upload_model(pristine / "model").reference
        data = {split: client.upload(pristine / f"{split}.csv").reference for split in ("train", "validation", "test")}
        spec = tiny.make_spec(name="composed", n_trials=2, model={"name": model}, data=data)
        client.create_study(spec)
        eventually(lambda: client.get_study("composed").n_finished)
        eventually(lambda: client.get_study("composed").finished_at)
        study = client.get_study("composed")
        assert (study.state, study.trials.complete) == ("complete", 2), study
        assert client.best("composed").metrics
    downloads = {path.name for path in (tmp_path / "cache/spezia/downloads").iterdir()} - {"locks"}
    assert downloads == {
        one.removeprefix("sha256:") + end for one, end in [(model, ""), *((d, ".csv") for d in data.values())]
    }
    for process in (worker, service):
        process.terminate()
        assert process.wait(SECONDS) == 0
    for log in tmp_path.glob("*.log"):
        assert PASSWORD not in log.read_text()
        assert key not in log.read_text()
