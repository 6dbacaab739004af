"""No key, token or password in a log line, an error, a repr, or an answer that is not about it."""

import logging
import traceback
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.launch.local import WorkerPlan
from service.lifecycle.workers.launched_workers import launch_worker
from service.settings import Settings
from service.store.sql.engine import open_engine
from spezia.client import Client, Unreachable
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import URL, client, make_key
from trainer.supervisor.client import ServiceClient, ServiceUnavailable

PASSWORD = "hunter2-canary"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, n_workers=0)


class Recorder:
    """Everything that was answered, but the assignments, which are there to hand tokens over."""

    def __init__(self) -> None:
        self.answers: list[str] = []

    def watch(self, visitor: TestClient) -> TestClient:
        visitor.event_hooks["response"].append(self._keep)
        return visitor

    def _keep(self, response: httpx2.Response) -> None:
        if not response.request.url.path.endswith("/dispatch"):
            self.answers.append(f"{response.headers} {response.read().decode(errors='replace')}")


def test_a_whole_study_with_keys_tells_none_of_its_secrets(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    launched = launch_worker(app.state.parts.store, "a" * 32, "here")
    secrets = [make_key(app, "alice", "write"), make_key(app, "gpu", "worker"), launched]
    recorder = Recorder()
    alice, gpu = (recorder.watch(client(app, key)) for key in secrets[:2])
    worker = HandWorker(gpu)
    alice.post("/v1/studies", json=spec(n_trials=2), headers={"Idempotency-Key": "k"})
    worker.prepare()
    held = worker.run_trial(0.5, 0.4)
    failing = worker.take()
    worker.fail(failing)
    secrets += [held["token"], failing["token"]]
    # and what goes wrong
    worker.finish(held, "PRUNED")
    worker.report(held, 1, 0.1)
    gpu.get("/v1/studies")
    alice.post(f"/v1/leases/{held['lease_id']}/tell", json={}, headers={"Lease-Token": held["token"]})
    recorder.watch(client(app, secrets[0][:-1])).get("/v1/studies")
    for path in ("", "/feedback", "/feedback/trials", "/feedback/trials/0", "/feedback/trials/1", "/feedback/best"):
        alice.get(f"/v1/studies{path}")
    with alice.stream("GET", "/v1/studies/feedback/events") as events:
        recorder.answers.append("".join(events.iter_text()))
    alice.get("/v1/workers")
    told = "\n".join([*recorder.answers, caplog.text])
    assert len(recorder.answers) > 15
    assert "feedback" in told
    assert [secret for secret in secrets if secret in told or secret.split("_", 2)[-1] in told] == []


def test_the_database_holds_no_key(app: FastAPI, tmp_path: Path) -> None:
    key = make_key(app, "alice", "write")
    client(app, key).post("/v1/studies", json=spec(), headers={"Idempotency-Key": "k"})
    stored = b"".join(path.read_bytes() for path in (tmp_path / "home").glob("spezia.db*"))
    assert b"alice" in stored
    assert key.split("_", 2)[-1].encode() not in stored


@pytest.mark.parametrize(
    "url", [f"mysql://me:{PASSWORD}@host/db", f"not a url {PASSWORD}", f"sqlite://me:{PASSWORD}@/"]
)
def test_a_database_that_cannot_be_used_does_not_tell_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever SQLAlchemy makes of it
        open_engine(url)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(Settings(database_url=url))


def test_a_database_that_is_away_does_not_tell_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, n_workers=0, database_url=f"postgresql://me:{PASSWORD}@127.0.0.1:1/db")
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as away:
        create_app(settings)
    assert PASSWORD not in "".join(traceback.format_exception(away.value))


def test_clients_and_plans_do_not_tell_their_key() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Authorization"] == f"Bearer {PASSWORD}"
        raise httpx2.ConnectError("away", request=request)

    transport = httpx2.MockTransport(fail)
    spezia = Client(URL, PASSWORD, transport=transport, sleep=lambda _: None)
    with pytest.raises(Unreachable) as away:
        spezia.get_study("toy")
    worker = ServiceClient(URL, PASSWORD, transport=transport)
    with pytest.raises(ServiceUnavailable) as gone:
        worker.fetch_dataset("0" * 64, Path("none"))
    plan = WorkerPlan(server=URL, data_roots=(), gpus=(), n_workers=1, environment={"SPEZIA_API_KEY": PASSWORD})
    told = [str(away.value), str(gone.value), *map(repr, (away.value, gone.value, spezia, worker, plan))]
    assert not [one for one in [*told, *plan.command("0" * 32)] if PASSWORD in one]
