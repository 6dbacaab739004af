"""What a study will take is said when it is prepared, stays as it was, and is compared with what it took."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.studies.describe_study import show_study
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import FACTS, HandWorker, spec
from tests.service.keyed import client_of
from tests.service.rung_worker import RungWorker, rungs_spec

KIND = {"method": "full", "frozen_blocks": 0, "gradient_checkpointing": False, "batch_size": 16}
TIMES: dict[str, Any] = {
    "device": "a hand",
    "kinds": [KIND | {"start_seconds": 1.0, "epoch_seconds": 2.0, "evaluation_seconds": 0.5, "fill_seconds": 0.0}],
    "load_seconds": 4.0,
    "peak_memory_bytes": 10**9,
}
OF_TRIALS = 3 * (1 + 3 * 2.5)


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> dict[str, Any]:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare(step_times=TIMES)
    return shown(http)


def shown(http: TestClient) -> dict[str, Any]:
    study: dict[str, Any] = http.get("/v1/studies/feedback").json()
    return study


def run(worker: HandWorker, n_steps: int = 3, state: str = "COMPLETE", **outcome: Any) -> None:
    held = worker.take()
    for step in range(1, n_steps + 1):
        worker.report(held, step, 0.5, final=step == n_steps and state == "COMPLETE")
    assert worker.tell(held, {"kind": "trial", "state": state, "device_seconds": 9.5} | outcome).status_code == 200


def test_a_study_says_what_it_will_take_and_how_wrong_that_was(http: TestClient, worker: HandWorker) -> None:
    study = begin(http, worker)
    quote = study["quote"]
    assert quote["device_seconds"]["expected"] == pytest.approx(1 + OF_TRIALS)
    assert (quote["n_trials"], quote["n_workers"], quote["device"]) == (3, 1, "a hand")
    assert study["quote_error"] is None
    run(worker)
    run(worker, 1, "PRUNED", device_seconds=4.5, speed={"seconds_per_epoch": 2.5})  # 5 s more, had it gone on
    run(worker)
    study = shown(http)
    assert study["quote"] == quote
    assert study["quote_error"] == pytest.approx((1 + 9.5 + 9.5 + 9.5) / (1 + OF_TRIALS) - 1)
    assert http.get("/v1/studies").json()["studies"] == [study]


def test_under_rungs_a_quote_knows_how_many_go_on(http: TestClient) -> None:
    assert http.post("/v1/studies", json=rungs_spec(training={"early_stopping_patience": None})).status_code == 201
    worker = RungWorker(http)
    worker.prepare(step_times=TIMES)
    worker.speed = {"seconds_per_epoch": 2.0, "trunk_seconds": None}
    expected = shown(http)["quote"]["device_seconds"]["expected"]
    worker.work(lambda number, step: number + 1 / step)
    study = shown(http)
    assert (study["state"], worker.n_steps) == ("complete", 8)
    # eight epochs and seven evaluations of four trials, two of which went on from rung 0 and one from rung 1
    assert expected == pytest.approx(1 + 4 * 1.0 + 8 * 2.0 + 7 * 0.5 + 3 * 1.0)
    assert study["saved_seconds"]["pruning"] > 0
    assert study["quote_error"] == pytest.approx(study["device_seconds"] / expected - 1)


def test_a_study_is_quoted_as_soon_as_a_worker_has_timed_steps_while_others_train(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare(awaits_step_times=True)
    other = HandWorker(http)
    probe = other.take()
    run(worker)
    assert (probe["kind"], shown(http)["quote"], shown(http)["facts"]["awaits_step_times"]) == ("probe", None, True)
    clock.advance(3.0)
    assert tell_probe(other, probe, step_times=TIMES) == 200
    study = shown(http)
    assert (study["facts"]["awaits_step_times"], study["facts"]["step_times"]["device"]) == (False, "a hand")
    assert study["quote"]["device_seconds"]["expected"] == pytest.approx(1 + 3 + 4 + OF_TRIALS)
    assert study["quote"]["wall_seconds"]["expected"] == pytest.approx(0 + 2 * OF_TRIALS / 3 + 3.0)
    assert tell_probe(other, probe, step_times=TIMES) == 200  # sent twice
    assert shown(http)["quote"] == study["quote"]
    assert validated(http, name="another") is not None
    run(worker)
    run(worker)
    study = shown(http)
    assert study["quote_error"] == pytest.approx((1 + 3 + 3 * 9.5) / (1 + 3 + 4 + OF_TRIALS) - 1)


@pytest.mark.parametrize("is_probed", [False, True], ids=["when it is prepared", "when a probe has timed steps"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_quote_counts_the_trials_that_a_warm_start_takes(
    http: TestClient, worker: HandWorker, is_probed: bool
) -> None:
    space = {"search_space": {"epochs": {"type": "int", "low": 1, "high": 50}}, "n_trials": 1}
    assert http.post("/v1/studies", json=spec(name="old", enqueue=[{"epochs": 40}], **space)).status_code == 201
    worker.prepare()
    worker.run_trial(0.5)
    assert http.post("/v1/studies", json=spec(warm_start=["old"], **space)).status_code == 201
    if is_probed:
        worker.prepare(awaits_step_times=True)
        assert tell_probe(worker, worker.take(), step_times=TIMES) == 200
    else:
        worker.prepare(step_times=TIMES)
    quote = shown(http)["quote"]
    assert quote["device_seconds"]["expected"] == pytest.approx(1 + 3 * is_probed + (1 + 40 * 2.5))


def test_a_study_that_was_quoted_before_its_first_trial_is_not_quoted_again(
    http: TestClient, worker: HandWorker
) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare(step_times=TIMES, awaits_similarity=True)
    quote = shown(http)["quote"]
    other = TIMES | {"device": "another hand"}
    assert tell_probe(worker, worker.take(), step_times=other) == 200
    assert (shown(http)["quote"], shown(http)["facts"]["step_times"]["device"]) == (quote, "a hand")


def test_a_study_goes_on_without_a_quote_where_steps_cannot_be_timed(http: TestClient, worker: HandWorker) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare(awaits_step_times=True)
    failure = {"failure_class": "exception", "message": "it broke"}
    probe = worker.take()
    assert tell_probe(worker, probe, step_times=TIMES, failure=failure) == 409
    assert tell_probe(worker, probe, failure=failure) == 200
    assert shown(http)["warnings"][-1] == "what the study will take is not known: it broke"
    assert (shown(http)["quote"], shown(http)["facts"]["awaits_step_times"]) == (None, False)
    assert worker.take()["kind"] == "trial"


FOUND = {"metrics": {"skill": 0.9}, "suggestion": "similar-task", "why": "its features fit"}
AWAITED = {"awaits_similarity": True, "awaits_step_times": True}


def measure(http: TestClient, worker: HandWorker) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare(**AWAITED)
    assert tell_probe(worker, worker.take(), step_times=TIMES, similarity=FOUND) == 200
    for _ in range(3):
        run(worker)


def test_what_an_earlier_study_of_the_same_has_measured_is_not_measured_again(
    http: TestClient, worker: HandWorker
) -> None:
    measure(http, worker)
    assert http.post("/v1/studies", json=spec(name="again", n_trials=6, seed=7)).status_code == 201
    worker.prepare(**AWAITED)
    again = http.get("/v1/studies/again").json()
    assert (again["facts"]["step_times"]["device"], again["facts"]["similarity"]) == ("a hand", FOUND)
    assert not again["facts"]["awaits_step_times"]
    assert not again["facts"]["awaits_similarity"]
    assert again["facts"]["warnings"] == [FOUND["why"]]
    assert again["warnings"].count(FOUND["why"]) == 1
    assert again["quote"]["device_seconds"]["expected"] == pytest.approx(1 + 2 * OF_TRIALS)
    assert worker.take()["kind"] == "trial"


def test_what_was_measured_of_another_study_does_not_count(http: TestClient, worker: HandWorker) -> None:
    measure(http, worker)
    others: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"fixed": {"batch_size": 8}}, {}),
        ({"search_space": {"dropout": {"type": "float", "low": 0.0, "high": 0.2}}}, {}),
        ({"training": {"evaluations_per_epoch": 2}}, {}),
        ({"model": {"name": "other/model"}}, {}),
        ({}, {"data_sha256": "2" * 64}),
        ({}, {"model_sha256": "2" * 64}),
    ]
    for index, (changes, facts) in enumerate(others):
        name = f"other-{index}"
        assert http.post("/v1/studies", json=spec(name=name) | changes).status_code == 201
        worker.prepare(**AWAITED, **facts)
        held = worker.take()
        assert (name, held["kind"]) == (held["study"], "probe")
        assert http.post(f"/v1/studies/{name}/stop").status_code < 300
        assert tell_probe(worker, held) == 200


def test_what_was_measured_on_another_device_does_not_count(http: TestClient, worker: HandWorker) -> None:
    measure(http, worker)
    device = {"kind": "cpu", "name": "another hand", "memory_bytes": 0, "bf16": False}
    other = HandWorker(http)
    registration = {"worker_id": other.worker_id, "host": "here", "device": device, "versions": {}, "protocol": 1}
    assert http.post("/v1/workers", json=registration).status_code == 201
    assert http.post("/v1/studies", json=spec(name="again")).status_code == 201
    other.prepare(**AWAITED)
    assert other.take()["kind"] == "probe"


def test_what_an_earlier_study_has_not_measured_is_measured(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    for _ in range(3):
        run(worker)
    assert http.post("/v1/studies", json=spec(name="again")).status_code == 201
    worker.prepare(**AWAITED)
    probe = worker.take()
    assert (probe["facts"]["awaits_similarity"], probe["facts"]["awaits_step_times"]) == (True, False)
    assert http.get("/v1/studies/again").json()["quote"] is not None


def tell_probe(worker: HandWorker, held: dict[str, Any], **outcome: Any) -> int:
    status: int = worker.tell(held, {"kind": "probe", "device_seconds": 3.0} | outcome).status_code
    return status


def test_what_was_not_quoted_is_not_judged(http: TestClient, worker: HandWorker) -> None:
    quote = begin(http, worker)["quote"]
    for _ in range(3):
        run(worker)
    assert http.patch("/v1/studies/feedback", json={"n_trials": 4}).status_code == 200
    run(worker)
    study = shown(http)
    assert (study["state"], study["quote"], study["quote_error"]) == ("complete", quote, None)


def test_a_study_whose_trials_fail_is_not_judged(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    run(worker)
    run(worker)
    worker.fail(worker.take())
    assert (shown(http)["state"], shown(http)["quote_error"]) == ("complete", None)


def test_a_quote_of_nothing_is_not_judged(http: TestClient, worker: HandWorker) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    held = worker.take()
    kinds = [KIND | {"epoch_seconds": None}]  # nothing fits, as the worker says
    facts = FACTS | {"step_times": TIMES | {"kinds": kinds, "load_seconds": 0.0}}
    worker.tell(held, {"kind": "prepare", "facts": facts, "device_seconds": 0.0})
    run(worker)
    study = shown(http)
    assert (study["state"], study["quote"]["device_seconds"]["expected"]) == ("complete", 0.0)
    assert study["quote_error"] is None


def test_without_timed_steps_there_is_no_quote(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    assert (shown(http)["quote"], shown(http)["quote_error"]) == (None, None)


def test_a_quote_outlives_the_service(http: TestClient, worker: HandWorker, engine: Engine, clock: FakeClock) -> None:
    quote = begin(http, worker)["quote"]
    later = show_study(Store(engine, clock), "feedback").quote
    assert later is not None
    assert later.model_dump(mode="json") == quote


def validated(http: TestClient, **changes: Any) -> Any:
    reply = http.post("/v1/studies:validate", json=spec(**changes))
    assert reply.status_code == 200
    return reply.json()["quote"]


def test_validating_quotes_by_an_earlier_study_of_the_same(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    assert validated(http) is None
    begin(http, worker)
    quote = validated(http, name="another", n_trials=6)
    assert quote["device_seconds"]["expected"] == pytest.approx(2 * OF_TRIALS)
    assert validated(http, data={"train": "other.csv"}) is None
    assert validated(http, model={"name": "other/model"}) is None
    clock.advance(LEASE_SECONDS + 1)
    assert validated(http) is None  # its device is no longer here
    HandWorker(http)
    assert validated(http) is not None
    assert http.delete("/v1/studies/feedback").status_code == 204
    assert validated(http) is None


def test_nobody_learns_what_was_measured_of_the_study_of_another(app: FastAPI) -> None:
    alice, bob, _ = (client_of(app, name, scope) for name, scope in PEOPLE)
    worker = HandWorker(client_of(app, "worker", "worker"))
    measure(alice, worker)
    for who, name, kind in ((bob, "of-bob", "probe"), (alice, "of-alice", "trial")):
        assert who.post("/v1/studies", json=spec(name=name)).status_code == 201
        worker.prepare(**AWAITED)
        held = worker.take()
        assert held["kind"] == kind
        if kind == "probe":
            assert tell_probe(worker, held) == 200
        assert who.post(f"/v1/studies/{name}/stop").status_code < 300


def test_nobody_is_quoted_by_the_study_of_another(app: FastAPI) -> None:
    alice, bob, admin = (client_of(app, name, scope) for name, scope in PEOPLE)
    worker = HandWorker(client_of(app, "worker", "worker"))
    assert alice.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare(step_times=TIMES)
    assert [validated(who) is not None for who in (alice, bob, admin)] == [True, False, True]


PEOPLE = (("alice", "write"), ("bob", "write"), ("admin", "admin"))
