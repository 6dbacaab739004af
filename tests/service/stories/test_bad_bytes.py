"""Bodies that no client should send: always 4xx with a problem document, and nothing is stored."""

import gzip
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

GOOD = json.dumps(spec(target_value=12345)).encode()

BAD: dict[str, bytes] = {
    "nothing": b"",
    "NaN": GOOD.replace(b"12345", b"NaN"),
    "a number beyond all": GOOD.replace(b"12345", b"1e999"),
    "Infinity": GOOD.replace(b"12345", b"-Infinity"),
    "5,000 digits": GOOD.replace(b'"n_trials": 3', b'"n_trials": ' + b"9" * 5_000),
    "5,000 digits for a float": GOOD.replace(b"12345", b"9" * 5_000),
    "100,000 brackets": b"[" * 100_000,
    "100,000 braces": b'{"a":' * 100_000,
    "brackets inside": GOOD.replace(b"12345", b"[" * 100_000 + b"]" * 100_000),
    "a lone surrogate": GOOD.replace(b"some/model", b"\\ud800"),
    "a lone surrogate as a name": GOOD.replace(b"learning_rate", b"\\udfff"),
    "a null character": GOOD.replace(b"some/model", b"some\\u0000model"),
    "a field twice": GOOD.replace(b'"n_trials": 3', b'"n_trials": 3, "n_trials": 4'),
    "gzip": gzip.compress(GOOD),
    "latin-1": GOOD.replace(b"some/model", "modèle".encode("latin-1")),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "half": GOOD[: len(GOOD) // 2],
    "two documents": GOOD + GOOD,
    "a bare string": b'"feedback"',
    "null": b"null",
}
JSON = {"Content-Type": "application/json"}


def check(answer: Any) -> None:
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], bool(problem["detail"])) == (answer.status_code, True)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_study_is_refused_with_a_problem(http: TestClient, name: str) -> None:
    check(http.post("/v1/studies", content=BAD[name], headers=JSON))
    assert http.get("/v1/studies").json()["studies"] == []


@pytest.mark.parametrize("name", BAD)
def test_every_other_body_is_refused_with_a_problem(http: TestClient, worker: HandWorker, name: str) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    lease, token = f"/v1/leases/{held['lease_id']}", {"Lease-Token": held["token"]}
    body = BAD[name]
    check(http.patch("/v1/studies/feedback", content=body, headers=JSON))
    check(http.post("/v1/studies/feedback/trials", content=body, headers=JSON))
    check(http.post("/v1/workers", content=body, headers=JSON))
    check(http.post(f"/v1/workers/{worker.worker_id}/dispatch", content=body, headers=JSON))
    check(http.post("/v1/leases/heartbeat", content=body, headers=JSON))
    check(http.post("/v1/leases/report", content=body, headers=JSON))
    check(http.post(f"{lease}/tell", content=body, headers=JSON | token))
    check(http.post(f"{lease}/release", content=body, headers=JSON | token))
    assert worker.heartbeat(held) == "continue"


@pytest.mark.parametrize("value", ["NaN", "1e999", "-1e999"])
def test_a_report_of_no_number_is_refused(http: TestClient, worker: HandWorker, value: str) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    report = {"lease_id": held["lease_id"], "token": held["token"], "step": 1, "epoch": 1.0, "optimizer_steps": 1}
    report |= {"value": 12345, "metrics": {}, "final": False}
    body = json.dumps({"reports": [report]}).replace("12345", value)
    check(http.post("/v1/leases/report", content=body, headers=JSON))


def test_a_log_that_is_not_text_is_refused(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    path, token = f"/v1/leases/{held['lease_id']}/log", {"Lease-Token": held["token"], "Content-Type": "text/plain"}
    for body in (b"\xff\xfe", b"a\0b", gzip.compress(b"line")):
        answer = http.put(path, content=body, headers=token)
        if answer.status_code != 204:
            check(answer)
    assert "a\ufffdb" in http.get("/v1/studies/feedback/trials/0/log").text
