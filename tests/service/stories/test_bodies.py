"""Bodies that are read in threads, within bounds."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import PlannedStudy
from service.routes import strict_json
from service.routes.middleware.body_limit import MAX_BODY_BYTES
from service.settings import Settings
from service.store.store import Store
from spezia.contract import study_spec
from spezia.contract.study_spec import StudySpec
from spezia.contract.wire import FieldError
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import URL

SECONDS = 30.0
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, n_workers=0)


@pytest.fixture
def http(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url=URL) as http:
        yield http


def test_the_service_answers_while_it_checks_a_body(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    http.post("/v1/studies", json=spec(name="before"))
    worker = HandWorker(http)
    arrived, go_on = threading.Semaphore(0), threading.Event()
    read = strict_json._read

    def stand_still(adapter: Any, body: bytes) -> Any:
        if b"slow" in body:
            arrived.release()
            assert go_on.wait(SECONDS)
        return read(adapter, body)

    monkeypatch.setattr(strict_json, "_read", stand_still)
    with ThreadPoolExecutor(10) as callers:
        posted = [callers.submit(http.post, "/v1/studies", json=spec(name=f"slow-{index}")) for index in range(10)]
        try:
            for _ in range(strict_json.FOR_BODIES.n):
                assert arrived.acquire(timeout=SECONDS)
            assert http.get("/healthz").status_code == 200
            assert http.get("/v1/studies").json()["studies"][0]["name"] == "before"
            worker.prepare()
            assert not arrived.acquire(blocking=False), "more bodies are checked at once than there are threads"
        finally:
            go_on.set()
    assert [one.result().status_code for one in posted] == [201] * 10


@pytest.mark.parametrize(("path", "status"), [("/v1/studies:validate", 200), ("/v1/studies", 201)])
def test_a_spec_is_checked_once(http: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, status: int) -> None:
    threads: list[str] = []
    check = study_spec.whole_space_errors

    def note(spec: StudySpec) -> list[FieldError]:
        threads.append(threading.current_thread().name)
        return check(spec)

    monkeypatch.setattr(study_spec, "whole_space_errors", note)
    assert http.post(path, json=spec()).status_code == status
    assert len(threads) == 1
    assert threads[0].startswith("AnyIO worker thread")


def test_what_is_stored_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path / "home", n_workers=0)
    with TestClient(create_app(settings), base_url=URL) as http:
        posted = http.post("/v1/studies", json=spec(enqueue=[{"learning_rate": 1e-4}])).json()
    monkeypatch.setattr(study_spec, "_space_errors", lambda _: pytest.fail("checked again"))
    with TestClient(create_app(settings), base_url=URL) as http:
        assert http.get("/v1/studies/feedback").json()["spec"] == posted["spec"]


BRACKETS = b'"' + b"[{" * 20_000 + b'"'


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"{}"] * 100_001) + b"]",
        b"[" + b",".join([b"[]"] * 100_001) + b"]",
        b'{"a":' + BRACKETS + b',"b":[' + b",".join([b"[]"] * 100_001) + b"]}",
        b"{" + b",".join(b'"%d":1' % index for index in range(1_001)) + b"}",
        b"{" + b",".join(b'"%d":1' % index for index in [*range(90_000), 89_999]) + b"}",
        b'{"a":"' + b'[\\"' * 340_000,
    ],
    ids=["objects", "lists", "lists beside a text", "fields", "fields of which one comes twice", "a text that is open"],
)
def test_a_body_of_too_many_parts_is_refused_before_they_are_made(http: TestClient, body: bytes) -> None:
    assert len(body) <= MAX_BODY_BYTES
    began = time.process_time()
    answer = http.post("/v1/studies:validate", content=body, headers=JSON)
    assert time.process_time() - began < 1.0
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("n", [1_001, 20_000, 99_000])
@pytest.mark.parametrize(
    ("method", "path", "body", "field", "message"),
    [
        ("POST", "/v1/studies", spec(), "enqueue", "params are listed to try first, more than 1000; post the others"),
        ("POST", "/v1/studies:validate", spec(), "enqueue", "params are listed to try first, more than 1000; post the"),
        ("PATCH", "/v1/studies/there", {}, "enqueue", "unknown field"),
        ("POST", "/v1/studies/there/trials", {}, "params", "must be a mapping"),
    ],
    ids=["create", "validate", "extend", "enqueue"],
)
def test_too_many_params_to_try_are_told_by_their_field(
    http: TestClient, n: int, method: str, path: str, body: dict[str, Any], field: str, message: str
) -> None:
    http.post("/v1/studies", json=spec(name="there"))
    answer = http.request(method, path, json=body | {field: [{}] * n})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert message in error["message"]


def test_brackets_in_a_text_are_no_parts(http: TestClient) -> None:
    answer = http.post("/v1/studies:validate", content=b'{"task":' + BRACKETS + b"}", headers=JSON)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"task"}


def test_an_answer_quotes_no_more_than_a_person_reads(http: TestClient) -> None:
    long = {f"{index}".ljust(50_000, "x"): 1 for index in range(20)}
    answer = http.post("/v1/studies:validate", json=spec() | long)
    assert answer.status_code == 422
    assert len(answer.content) < 600_000
    assert len(answer.json()["errors"]) == 20


@pytest.mark.parametrize("key", [None, "once"])
def test_nobody_waits_for_the_database_while_a_study_is_thought_about(
    app: FastAPI, http: TestClient, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    store: Store = app.state.parts.store

    def write() -> None:
        with store.writing():
            pass

    def write_meanwhile(module: str, name: str) -> None:
        path = f"service.lifecycle.{module}.{name}"
        before = getattr(import_module(f"service.lifecycle.{module}"), name)

        def thinking(*args: Any) -> Any:
            with ThreadPoolExecutor(1) as other:
                other.submit(write).result(SECONDS / 3)
            return before(*args)

        monkeypatch.setattr(path, thinking)

    write_meanwhile("studies.check_spec", "fill_preset")
    write_meanwhile("studies.plan_study", "Adviser")
    write_meanwhile("trials.enqueue_first_trials", "baseline")
    headers = {"Idempotency-Key": key} if key else {}
    body = spec(baseline=True, enqueue=[{"learning_rate": 1e-4}])
    assert http.post("/v1/studies", json=body, headers=headers).status_code == 201
    HandWorker(http).prepare()
    assert http.get("/v1/studies/feedback").json()["trials"]["waiting"] == 2


def test_a_study_of_before_the_limits_goes_on(app: FastAPI, http: TestClient) -> None:
    body = spec(enqueue=[{"learning_rate": 1e-4}] * 1_001, n_trials=2_000)
    refused = http.post("/v1/studies", json=body)
    assert [one["field"] for one in refused.json()["errors"]] == ["enqueue"]
    stored = PlannedStudy(spec=StudySpec.model_validate(body), warnings=[])
    create_study(app.state.parts.store, stored)
    HandWorker(http).prepare()
    study = http.patch("/v1/studies/feedback", json={"n_trials": 3_000}).json()
    assert (study["trials"]["waiting"], len(study["spec"]["enqueue"])) == (1_001, 1_001)
    again = http.patch("/v1/studies/feedback", json={"n_trials": 1_000})
    assert [one["field"] for one in again.json()["errors"]] == ["n_trials"]
