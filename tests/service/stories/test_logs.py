"""The log: what stands on its lines, how much is written, and what never is."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from structlog.contextvars import bound_contextvars

from service.lifecycle.leases.reap import reap
from spezia.common.logs import json_formatter, text_formatter
from tests.conftest import FakeClock
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Of SQLite alone: the log is the same on both."""
    return f"sqlite:///{tmp_path / 'spezia.db'}"


class Lines:
    """What was logged, as the formatter wrote it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def at_least(self, level: str = "info") -> list[dict[str, Any]]:
        levels = ["debug", "info", "warning", "error"]
        written = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in written if levels.index(line["level"]) >= levels.index(level)]

    def find(self, message: str) -> dict[str, Any]:
        (line,) = [line for line in self.at_least("debug") if line["message"] == message]
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    handler = logging.StreamHandler(lines.stream)
    handler.setFormatter(json_formatter())
    ours = logging.getLogger("service")
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    yield lines
    ours.setLevel(logging.NOTSET)
    ours.removeHandler(handler)


def run_study(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=2))
    worker.prepare()
    worker.run_trial(0.9, 0.8)
    worker.run_trial(0.7, 0.6)


def test_a_request_keeps_a_valid_id_and_gets_one_otherwise(http: TestClient, lines: Lines) -> None:
    assert http.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    made = [
        http.get("/healthz", headers={"X-Request-ID": bad}).headers["X-Request-ID"] for bad in ("", "a b", "x" * 65)
    ]
    assert len(set(made)) == 3
    assert all(len(one) == 32 for one in made)
    assert [line["request_id"] for line in lines.at_least("debug")] == ["mine-1", *made]


@pytest.mark.parametrize(
    ("path", "host"), [("/v1/studies/none", "127.0.0.1"), ("/nowhere", "127.0.0.1"), ("/healthz", "evil.example")]
)
def test_a_problem_names_its_request(http: TestClient, path: str, host: str) -> None:
    answer = http.get(path, headers={"X-Request-ID": "mine-2", "Host": host})
    assert answer.status_code >= 400
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == "mine-2"


def test_an_unforeseen_failure_is_found_in_the_log_by_its_request(
    app: FastAPI, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("service.routes.studies.show_study", fail)
    answer = TestClient(app, base_url=URL, raise_server_exceptions=False).get("/v1/studies/x")
    assert answer.status_code == 500
    failed = lines.find("the request failed")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"] == failed["request_id"]
    assert failed["study"] == "x"
    assert failed["exception"].endswith("ZeroDivisionError: unforeseen")
    assert lines.find("GET /v1/studies/{name} 500")["level"] == "warning"


def test_a_request_is_logged_by_its_route_and_what_its_path_names(http: TestClient, lines: Lines) -> None:
    http.post("/v1/studies", json=spec())
    http.post("/v1/studies/feedback/trials/7/cancel?secret=1")
    line = lines.find("POST /v1/studies/{name}/trials/{number}/cancel 404")
    assert line["duration_seconds"] >= 0
    del line["duration_seconds"], line["at"], line["request_id"]
    assert line == {
        "level": "info",
        "logger": "service.requests",
        "message": "POST /v1/studies/{name}/trials/{number}/cancel 404",
        "method": "POST",
        "route": "/v1/studies/{name}/trials/{number}/cancel",
        "status": 404,
        "study": "feedback",
        "trial": "7",
    }


def test_what_a_worker_tells_is_logged_with_its_lease(http: TestClient, worker: HandWorker, lines: Lines) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    worker.fail(held, "out_of_memory")
    line = lines.find("the attempt failed")
    assert line["failure_class"] == "out_of_memory"
    assert {field: line[field] for field in ("study", "work", "trial", "attempt", "worker_id", "lease_id")} == {
        "study": "feedback",
        "work": "trial",
        "trial": 0,
        "attempt": 1,
        "worker_id": worker.worker_id,
        "lease_id": held["lease_id"],
    }


def test_a_lease_taken_back_is_a_warning_with_its_worker(
    http: TestClient, app: FastAPI, worker: HandWorker, clock: FakeClock, lines: Lines
) -> None:
    reap(app.state.parts.store)
    http.post("/v1/studies", json=spec())
    worker.take()
    for _ in range(4):
        clock.advance(30)
        reap(app.state.parts.store)
    line = lines.find("the lease was taken back: its worker is gone or silent")
    assert (line["level"], line["study"], line["work"], line["worker_id"]) == (
        "warning",
        "feedback",
        "prepare",
        worker.worker_id,
    )


def test_a_healthy_study_writes_three_lines(http: TestClient, worker: HandWorker, lines: Lines) -> None:
    run_study(http, worker)
    for _ in range(20):
        http.get("/v1/studies/feedback")
    assert [line["message"] for line in lines.at_least("info")] == [
        "study created",
        "POST /v1/studies 201",
        "the study is complete",
    ]


def test_no_token_is_ever_written(http: TestClient, app: FastAPI, worker: HandWorker, lines: Lines) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    worker.upload(held, "model.safetensors", b"x")
    worker.heartbeat(held)
    with app.state.parts.store.writing() as tx:
        columns = {"lease_id": "1" * 32, "token": held["token"]}  # of another lease: refused by the database
        statement = "INSERT INTO lease SELECT :lease_id, :token, study_uuid, kind, 9, attempt, worker_id, expires_at, "
        statement += "is_cancelled, reserved_seconds FROM lease"
        with pytest.raises(IntegrityError) as refused:
            tx.connection.execute(text(statement), columns)
    logging.getLogger("service").error("refused", exc_info=refused.value)
    worker.finish(held)
    worker.finish(held | {"token": "0" * 32})
    assert "IntegrityError" in lines.find("refused")["exception"]
    assert held["token"] not in lines.stream.getvalue()


def test_uvicorn_says_things_once(lines: Lines) -> None:
    logging.getLogger("service").info("Started", extra={"color_message": "\x1b[1mStarted"})
    assert "color_message" not in lines.find("Started")


def test_text_has_what_is_bound_and_no_local_variables() -> None:
    def fail(token: str) -> None:
        raise ValueError("broken")

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(text_formatter())
    log = logging.Logger("test")
    log.addHandler(handler)
    with bound_contextvars(study="feedback"):
        try:
            fail("5eCr37")
        except ValueError:
            log.exception("it %s", "broke", extra={"number": 3})
    written = stream.getvalue()
    assert "it broke" in written
    assert "study=feedback" in written
    assert "number=3" in written
    assert "ValueError: broken" in written
    assert written.count("5eCr37") == 1  # in the line of source that Python itself shows
