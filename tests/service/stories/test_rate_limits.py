"""Who calls too often is told when to call again; others are not held up."""

from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.gate import ADDRESS_BUCKETS, Gate
from service.settings import Settings
from spezia.client import Client, SpeziaError
from spezia.contract.problem import Code
from tests.service.keyed import URL, client, client_of, make_key
from tests.service.replies import make_study, problem

STUDIES = "/v1/studies"
LIMIT = 10
ENOUGH = 2 * LIMIT + 1
"""Requests that go over the limit wherever the minute that is counted begins."""


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, requests_per_minute=LIMIT, worker_requests_per_minute=3 * LIMIT)


def statuses(visitor: TestClient, n_requests: int = ENOUGH, path: str = STUDIES) -> list[int]:
    return [visitor.get(path).status_code for _ in range(n_requests)]


def test_a_key_that_calls_too_often_is_told_when_to_come_again(app: FastAPI) -> None:
    alice, bob = (client_of(app, name, "read") for name in ("alice", "bob"))
    answered = statuses(alice)
    assert set(answered) == {200, 429}
    assert answered.count(200) >= LIMIT
    refused = alice.get(STUDIES)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-requests")
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert bob.get(STUDIES).status_code == 200


def test_calls_of_workers_have_a_generous_limit_of_their_own(app: FastAPI) -> None:
    worker = client_of(app, "gpu", "admin")
    assert 429 in statuses(worker)
    path = "/v1/leases/heartbeat"
    assert {worker.post(path, json={"leases": []}).status_code for _ in range(LIMIT)} & {429} == set()
    assert 429 in {worker.post(path, json={"leases": []}).status_code for _ in range(6 * LIMIT)}


def test_strangers_are_counted_by_their_address_and_hold_up_no_key(app: FastAPI) -> None:
    alice = client_of(app, "alice", "read")
    assert set(statuses(client(app))) == {401, 429}
    assert set(statuses(client(app, "spz_guess"), 1)) == {429}
    elsewhere = TestClient(app, base_url=URL, client=("192.0.2.7", 1))
    assert elsewhere.get(STUDIES).status_code == 401
    assert elsewhere.get(STUDIES, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert alice.get(STUDIES).status_code == 200


def test_probes_and_a_service_without_keys_are_not_limited(app: FastAPI) -> None:
    assert set(statuses(client(app))) == {200}
    make_key(app, "alice", "read")
    assert set(statuses(client(app), path="/healthz")) == {200}


def test_strangers_of_many_addresses_take_bounded_memory(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    gate: Gate = app.state.gate
    monkeypatch.setattr("service.gate.ADDRESS_BUCKETS", 4)
    assert ADDRESS_BUCKETS == 4096
    counted: set[str] = set()
    monkeypatch.setattr(gate, "_hit", lambda kind, who: counted.add(who))
    for number in range(1000):
        gate.count_stranger(f"2001:db8::{number:x}")
    assert len(counted) == 4


def test_the_client_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    slept: list[float] = []
    bodies: list[bytes] = []
    busy = problem(429, Code.TOO_MANY_REQUESTS, "too many")
    busy.headers["Retry-After"] = "7"

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return busy if len(bodies) < 3 else httpx2.Response(200, content=make_study().model_dump_json())

    with Client(URL, transport=httpx2.MockTransport(answer), sleep=slept.append) as spezia:
        assert spezia.pause("toy").name == "toy"
    assert slept == [7.0, 7.0]


def test_an_upload_that_comes_too_early_is_sent_again_whole(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_bytes(b"text,label\n")
    bodies: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read())
        return problem(429, Code.TOO_MANY_REQUESTS, "too many")

    transport = httpx2.MockTransport(answer)
    with Client(URL, transport=transport, sleep=lambda _: None) as spezia, pytest.raises(SpeziaError):
        spezia.upload(file)
    assert len(bodies) > 1
    assert set(bodies) == {b"text,label\n"}
