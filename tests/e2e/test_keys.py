"""A service with keys and its workers, as real processes: the study ends, and no secret is where others may look."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import make_url

from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.list_keys import list_keys
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.client import Client, SpeziaError
from spezia.common.home_lock import find
from spezia.contract.key import KEY_VARIABLE, Scope
from tests import postgres
from tests.e2e.test_kill import ROOT, eventually, parent_of
from tests.trainer import tiny

PASSWORD = "hunter2-canary"


@pytest.fixture
def environment(postgres_server: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of the service: a database with a password, on an address that others could reach."""
    with postgres.database(postgres_server) as url:
        parsed = make_url(url)
        # the server of the tests lets anybody in, with any password
        url = url if parsed.password else parsed.set(password=PASSWORD).render_as_string(hide_password=False)
        yield os.environ | {
            "SPEZIA_HOME": str(tmp_path / "home"),
            "SPEZIA_DATABASE_URL": url,
            "SPEZIA_HOST": "0.0.0.0",
            "SPEZIA_REQUESTS_PER_MINUTE": "200",
        }


def migrated(url: str) -> Store:
    engine = open_engine(url)
    migrate(engine)
    return Store(engine, DatabaseClock())


def start(environment: dict[str, str], script: Path, output: Path) -> subprocess.Popen[bytes]:
    home = environment["SPEZIA_HOME"]
    command = [sys.executable, "-m", "tests.e2e.serve_with_fake_engine", home, str(script), "1"]
    with output.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)


def seen_of(pid: int, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_bytes().decode()


def test_a_study_with_keys_from_the_first_to_the_last_process(environment: dict[str, str], tmp_path: Path) -> None:
    pid_file, output, script = tmp_path / "engine.pid", tmp_path / "output", tmp_path / "script.json"
    script.write_text(json.dumps({"trials": {"0": [{"pid": str(pid_file)}, {"evaluate": 0.5, "final": True}]}}))
    store = migrated(environment["SPEZIA_DATABASE_URL"])
    key = create_key(store, "alice", [Scope.WRITE])
    serving = start(environment, script, output)
    try:
        url = eventually(lambda: (running := find(Path(environment["SPEZIA_HOME"]))) and running.url)
        with Client(url) as stranger, pytest.raises(SpeziaError, match=KEY_VARIABLE):
            stranger.get_study("keyed")
        with Client(url, key) as client:
            client.create_study(tiny.make_spec(name="keyed", sampler={"name": "random"}, n_trials=2))
            eventually(lambda: client.get_study("keyed").finished_at)
            assert client.get_study("keyed").trials.complete == 2
        assert list_keys(store)[0].last_used_at is not None
        engine = int(pid_file.read_text())
        worker = parent_of(engine)
        local_key = dict(line.split("=", 1) for line in seen_of(worker, "environ").split("\0") if line)[KEY_VARIABLE]
        assert "SPEZIA_" not in seen_of(engine, "environ")
        assert "SPEZIA_DATABASE_URL" not in seen_of(worker, "environ")
        addresses = [{"X-Forwarded-For": f"192.0.2.{number % 250}"} for number in range(401)]
        with httpx2.Client(base_url=url) as strangers:
            assert 429 in {strangers.get("/v1/studies", headers=headers).status_code for headers in addresses}
        seen = [output.read_text(), *(seen_of(pid, "cmdline") for pid in (serving.pid, worker, engine))]
    finally:
        store.close()
        serving.terminate()
        serving.wait(30)
    for secret in (key, local_key, PASSWORD):
        assert not [one for one in seen if secret in one]
