"""Idempotency-Key: sent twice, done once, answered the same."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.failpoints import Injected, armed
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
DAY = 24 * 3600


def post(http: TestClient, path: str, key: str = "k", **body: Any) -> Any:
    return http.post(path, json=body or None, headers={"Idempotency-Key": key})


def unnamed() -> dict[str, Any]:
    body = spec()
    del body["name"]
    return body


def test_a_study_without_a_name_is_made_once(http: TestClient) -> None:
    first, again = (post(http, "/v1/studies", **unnamed()) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(http.get("/v1/studies").json()["studies"]) == 1


def test_a_secret_is_neither_kept_nor_told_again(http: TestClient, app: FastAPI) -> None:
    first, again = (post(http, "/v1/webhooks", url="https://hooks.example/in") for _ in range(2))
    secret = first.json()["secret"]
    assert secret.startswith("whsec_")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    with app.state.parts.store.reading() as tx:
        kept = tx.connection.execute(text("SELECT body FROM idempotency_key")).scalar_one()
    assert json.loads(kept)["webhook_id"] == first.json()["webhook_id"]
    assert secret not in kept


def test_another_request_under_the_same_key_is_refused(http: TestClient) -> None:
    post(http, "/v1/studies", **spec())
    for answer in (post(http, "/v1/studies", **spec(n_trials=4)), post(http, f"{STUDY}/stop")):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert http.get(STUDY).json()["state"] == "running"


def test_a_trial_is_enqueued_once_a_key(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    params = {"learning_rate": 1e-4}
    numbers = [post(http, f"{STUDY}/trials", key, params=params).json()["number"] for key in ("a", "a", "b", "a")]
    assert numbers == [0, 0, 1, 0]
    assert http.get(STUDY).json()["spec"]["n_trials"] == 5


def test_a_failed_trial_is_retried_once_a_key(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    worker.fail(worker.take())
    numbers = [post(http, f"{STUDY}/trials/0/retry").json()["number"] for _ in range(2)]
    assert numbers == [1, 1]


@pytest.mark.parametrize("verb", ["pause", "stop", "cancel"])
def test_the_old_answer_is_given_though_the_study_has_moved_on(http: TestClient, verb: str) -> None:
    http.post("/v1/studies", json=spec())
    first = post(http, f"{STUDY}/{verb}").json()
    http.post(f"{STUDY}/cancel")
    assert post(http, f"{STUDY}/{verb}").json() == first


def test_a_refusal_is_not_kept(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    assert post(http, f"{STUDY}/trials", params={}).status_code == 409
    worker.prepare()
    assert post(http, f"{STUDY}/trials", params={}).status_code == 201


@pytest.mark.parametrize(("seconds", "is_old"), [(DAY, True), (DAY + 1, False)])
def test_a_key_lasts_a_day(http: TestClient, clock: FakeClock, seconds: float, is_old: bool) -> None:
    first = post(http, "/v1/studies", **unnamed()).json()["name"]
    clock.advance(seconds)
    assert (post(http, "/v1/studies", **unnamed()).json()["name"] == first) == is_old


def test_the_key_is_kept_with_its_effect_or_not_at_all(http: TestClient) -> None:
    def fail() -> None:
        raise Injected

    with armed("create.before_commit", fail), pytest.raises(Injected):
        post(http, "/v1/studies", **unnamed())
    assert http.get("/v1/studies").json()["studies"] == []
    assert "idempotency-replayed" not in post(http, "/v1/studies", **unnamed()).headers
    assert len(http.get("/v1/studies").json()["studies"]) == 1


def test_requests_in_flight_together_act_once(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(http, f"{STUDY}/trials", params={}), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["number"] for answer in answers} == {0}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_that_is_none_is_refused(http: TestClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    assert http.post("/v1/studies", json=spec(), headers=headers).status_code == 422
