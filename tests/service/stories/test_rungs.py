"""Trials that pause at rungs, and the best of them that go on: what workers are told and people see."""

import json
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import HOLDER_SECONDS, LEASE_SECONDS, MAX_UNCOUNTED_ATTEMPTS
from service.lifecycle.leases.reap_all import reap_all
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.held_trial import let_pass, trial
from tests.service.rung_worker import RungWorker, rungs_spec
from tests.stock import stock_storage

STUDY = "/v1/studies/feedback"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Of the stories that are told quickly; the slow ones are told on both databases."""


def falling(number: int, step: int) -> float:
    """A loss by which a lower number is better at every step."""
    return number + 1 / step


@pytest.fixture
def worker(http: TestClient) -> RungWorker:
    return RungWorker(http)


def begin(http: TestClient, worker: RungWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=rungs_spec(**changes)).status_code == 201
    worker.prepare()


def state(http: TestClient) -> str:
    return str(http.get(STUDY).json()["state"])


@ON_SQLITE
def test_the_best_of_each_rung_go_on_and_the_rest_end_pruned(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    assert worker.work(falling) == [
        (0, "paused"),
        (1, "paused"),
        (0, "paused"),
        (2, "paused"),
        (3, "paused"),
        (1, "paused"),
        (0, "complete"),
    ]
    shown = http.get(f"{STUDY}/trials").json()["trials"]
    assert [one["state"] for one in shown] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert [one["value"] for one in shown] == [0.25, 1.5, 3.0, 4.0]
    assert state(http) == "complete"
    assert worker.n_steps == 4 * 1 + 2 * 1 + 2
    [decision] = trial(http, 2)["decisions"]
    assert (decision["rung"], decision["rank"], decision["step"]) == (0, 3, 1)
    assert decision["reason"] == (
        "paused at step 1: the value 3 ranks 3 of 4 at rung 0; the best have completed, and no more trials begin"
    )


@ON_SQLITE
def test_a_trial_is_told_to_pause_and_waits_at_its_rung(http: TestClient, worker: RungWorker, clock: FakeClock) -> None:
    begin(http, worker)
    held = worker.take()
    assert (held["evaluate_at"], held["resume"]) == ([1, 2, 3, 4], None)
    answer = worker.report(held, 1, 0.5)
    assert (answer["directive"], answer["should_prune"]) == ("pause", False)
    assert trial(http)["paused"] is None
    clock.advance(5)
    assert worker.release(held, "paused").status_code == 204
    shown = trial(http)
    assert (shown["state"], shown["paused"]["rung"], shown["value"]) == ("WAITING", 0, None)
    assert shown["paused"]["since"] == shown["attempts"][0]["started_at"]
    assert shown["attempts"][0]["end"] == "paused"
    counts = http.get(STUDY).json()["trials"]
    assert (counts["waiting"], counts["paused"]) == (1, 1)
    assert http.get(f"{STUDY}/trials.csv").text.splitlines()[1].startswith("0,WAITING,")
    assert "spezia_paused_trials 1.0" in http.get("/metrics").text
    assert "spezia_oldest_waiting_trial_age_seconds 0.0" in http.get("/metrics").text


@ON_SQLITE
def test_a_promoted_trial_goes_on_from_its_checkpoint(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    for _ in range(2):
        held = worker.ask()
        assert held is not None
        worker.train(held, falling)
    held = worker.ask()
    assert held is not None
    assert (held["number"], held["attempt"], held["resume"]) == (0, 2, {"attempt": 1, "step": 1, "sent": None})
    shown = trial(http)
    assert (shown["state"], shown["paused"]) == ("RUNNING", None)
    worker.train(held, falling)
    assert [row["step"] for row in trial(http)["intermediate_values"]] == [1, 2]
    assert [one["resumed_from"] for one in trial(http)["attempts"]] == [0, 1]


@pytest.mark.slow
def test_a_promotion_waits_for_the_holder_of_its_checkpoint_then_anyone_trains_it_anew(
    http: TestClient, worker: RungWorker, beating_store: Store, clock: FakeClock
) -> None:
    begin(http, worker, n_trials=2)
    for _ in range(2):
        worker.train(worker.take(), falling)
    other = RungWorker(http)
    assert other.ask() is None
    let_pass(beating_store, clock, HOLDER_SECONDS)
    held = other.ask()
    assert held is not None
    assert (held["number"], held["resume"]) == (0, None)
    assert other.report(held, 1, 0.7)["directive"] == "continue"
    assert other.report(held, 2, 0.6)["directive"] == "continue"
    assert [one["resumed_from"] for one in trial(http)["attempts"]] == [0, 0]


@pytest.mark.slow
def test_a_promotion_is_for_anyone_once_its_holder_is_gone(
    http: TestClient, worker: RungWorker, beating_store: Store, clock: FakeClock
) -> None:
    begin(http, worker, n_trials=3)
    worker.train(worker.take(), falling)
    let_pass(beating_store, clock, LEASE_SECONDS + 30)
    other = RungWorker(http)
    held = other.ask()
    assert held is not None
    assert other.train(held, falling) == "paused"
    held = other.ask()
    assert held is not None
    assert (held["number"], held["attempt"]) == (0, 2)


@pytest.mark.slow
def test_a_promotion_without_a_checkpoint_waits_for_nobody(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2)
    for value in (0.5, 0.6):
        held = worker.take()
        assert worker.report(held, 1, value)["directive"] == "pause"
        assert worker.release(held, "paused", has_checkpoint=False).status_code == 204
    held = RungWorker(http).take()
    assert (held["number"], held["resume"]) == (0, None)


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["its worker is lost", "its worker is preempted"])
def test_a_pause_stands_whoever_hears_of_it(
    http: TestClient, worker: RungWorker, beating_store: Store, clock: FakeClock, told: bool
) -> None:
    begin(http, worker)
    held = worker.take()
    assert worker.report(held, 1, 0.5)["directive"] == "pause"
    if told:
        assert let_pass(beating_store, clock, LEASE_SECONDS + 30) == 1
    else:
        assert worker.release(held).status_code == 204
    shown = trial(http)
    assert (shown["paused"]["rung"], shown["attempts"][0]["end"]) == (0, "paused")
    assert worker.take()["number"] == 1


@ON_SQLITE
def test_reports_after_a_pause_are_in_vain_and_repeated_ones_are_answered_alike(
    http: TestClient, worker: RungWorker
) -> None:
    begin(http, worker)
    held = worker.take()
    first = worker.report(held, 1, 0.5)
    assert worker.report(held, 2, 0.4)["directive"] == "pause"
    assert worker.report(held, 1, 0.5) == first
    assert [row["step"] for row in trial(http)["intermediate_values"]] == [1]
    told = worker.finish(held)
    assert (told.status_code, told.json()["code"]) == (409, "outcome-refused")
    assert worker.release(held, "paused").status_code == 204


@ON_SQLITE
def test_a_report_that_comes_behind_a_later_one_pauses_nobody(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    held = worker.take()
    assert worker.report(held, 3, 0.5)["directive"] == "continue"
    assert worker.report(held, 1, 0.9)["directive"] == "continue"
    assert worker.report(held, 3, 0.5)["directive"] == "continue"


@pytest.mark.slow
def test_pauses_count_towards_no_limit(http: TestClient, worker: RungWorker) -> None:
    # rungs at steps 1, 2, 4 … 512 of 1,000
    begin(http, worker, epochs=1, training={"evaluations_per_epoch": 1_000}, n_trials=1, device_seconds=1e6)
    assert worker.work(falling) == [(0, "paused")] * MAX_UNCOUNTED_ATTEMPTS + [(0, "complete")]
    assert worker.n_steps == 1_000


@pytest.mark.slow
def test_the_baseline_never_pauses(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, baseline=True, n_trials=3)
    assert worker.work(falling) == [(0, "complete"), (1, "paused"), (2, "paused"), (1, "complete")]


@pytest.mark.slow
def test_with_device_seconds_a_trial_reserves_them_up_to_its_rung_and_always_pauses(
    http: TestClient, worker: RungWorker, clock: FakeClock
) -> None:
    begin(http, worker, eta=4, epochs=16, n_trials=8, device_seconds=1000.0)
    held = worker.take()
    clock.advance(10.0)
    worker.report(held, 1, 0.9)
    worker.release(held, "paused")
    held = worker.take()
    # a step has taken 10 s: an eighth of what is left, and not 1.5 times the 160 s of a whole trial
    assert held["seconds_left"] == pytest.approx((1000.0 - 10.0) / 8)
    for number, value in ((1, 0.8), (2, 0.7), (3, 0.1)):
        assert held["number"] == number
        clock.advance(10.0)
        assert worker.report(held, 1, value)["directive"] == "pause"
        worker.release(held, "paused")
        held = worker.take()
    assert (held["number"], held["attempt"]) == (3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_paused_trials_of_a_study_that_is_ended_are_pruned_at_their_last_value(
    http: TestClient, worker: RungWorker, verb: str
) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    running = worker.take()
    assert http.post(f"{STUDY}/{verb}").status_code in (200, 202, 204)
    shown = trial(http)
    assert (shown["state"], shown["value"], shown["paused"]) == ("PRUNED", 1.0, None)
    assert shown["decisions"][0]["reason"].endswith("the study was ended before it was promoted")
    worker.report(running, 1, 2.0)
    worker.release(running, "paused")
    assert state(http) == ("complete" if verb == "stop" else "cancelled")


@pytest.mark.slow
def test_a_cancelled_paused_trial_fails_and_the_study_goes_on(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    assert http.post(f"{STUDY}/trials/0/cancel").status_code in (200, 202, 204)
    shown = trial(http)
    assert (shown["state"], shown["failure"]["message"]) == ("FAIL", "the trial was cancelled while it was paused")
    worker.work(falling)
    assert state(http) == "complete"


@pytest.mark.slow
def test_a_paused_study_promotes_nobody(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2)
    for _ in range(2):
        worker.train(worker.take(), falling)
    http.post(f"{STUDY}/pause")
    assert worker.ask() is None
    http.post(f"{STUDY}/resume")
    assert worker.work(falling) == [(0, "complete")]


@pytest.mark.slow
def test_an_extended_study_compares_new_trials_with_those_it_has_dropped(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    worker.work(falling)
    assert http.patch(STUDY, json={"n_trials": 6}).status_code == 200
    assert worker.work(lambda number, step: 10 - falling(number, step)) == [
        (4, "paused"),
        (5, "paused"),
    ]
    assert [trial(http, number)["decisions"][0]["rung"] for number in (4, 5)] == [0, 1]
    assert state(http) == "complete"


@pytest.mark.slow
def test_a_grid_that_ends_early_ends_with_its_best(http: TestClient, worker: RungWorker) -> None:
    grid = {"learning_rate": {"type": "categorical", "choices": [1e-5, 1e-4, 1e-3]}}
    begin(http, worker, search_space=grid, sampler={"name": "grid"}, n_trials=9)
    assert [end for _, end in worker.work(falling)].count("complete") == 1
    shown = http.get(STUDY).json()
    assert (shown["state"], shown["n_finished"], shown["spec"]["n_trials"]) == ("complete", 3, 3)


@ON_SQLITE
def test_a_grid_whose_trials_all_run_when_it_ends_ends_with_its_best(http: TestClient, worker: RungWorker) -> None:
    grid = {"learning_rate": {"type": "categorical", "choices": [1e-5, 1e-4, 1e-3]}}
    begin(http, worker, search_space=grid, sampler={"name": "grid"}, n_trials=9)
    workers = [RungWorker(http) for _ in range(3)]
    running = [one.take() for one in workers]
    assert worker.ask() is None
    # nothing else is left to begin, so the best goes on once all have come to their rung
    ends = [one.train(held, falling) for one, held in zip(workers, running, strict=True)]
    assert ends == ["paused", "paused", "paused"]
    assert workers[0].work(falling) == [(0, "complete")]
    assert state(http) == "complete"


@ON_SQLITE
def test_a_mark_that_another_program_enqueues_a_trial_with_pauses_nobody(
    http: TestClient, worker: RungWorker, database_url: str
) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    copied = {"rung": 1, "step": 2, "attempt": 1, "since": "2026-11-22T12:00:00.000000+00:00"}
    with stock_storage(database_url) as storage:
        stock = optuna.load_study(study_name="feedback", storage=storage)
        stock.enqueue_trial({}, user_attrs={"spezia:paused": copied})
    # the enqueued trial passes its first rung at once, and nothing has paused it before its second
    assert worker.work(lambda number, _: -number)[0] == (1, "paused")
    assert trial(http, 1)["decisions"][0]["rung"] == 1
    assert state(http) == "complete"


@ON_SQLITE
def test_a_paused_trial_that_another_program_copies_is_anyones(
    http: TestClient, worker: RungWorker, database_url: str
) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    worker.train(worker.take(), falling)
    with stock_storage(database_url) as storage:
        stock = optuna.load_study(study_name="feedback", storage=storage)
        paused = next(one for one in stock.get_trials() if "spezia:paused" in one.user_attrs)
        paused.user_attrs["spezia:paused"]["has_checkpoint"] = True
        stock.add_trial(paused)
        stock.add_trial(paused)
    # nobody has a checkpoint of a copy, so a worker that has none either need not wait for its holder
    assert RungWorker(http).take()["number"] in (2, 3)


@pytest.mark.slow
def test_the_first_rung_is_decided_when_the_study_is_prepared(http: TestClient, worker: RungWorker) -> None:
    fixed = {"epochs": 4, "warmup_ratio": 0.0, "batch_size": 10}
    begin(http, worker, first=None, fixed=fixed, training={"evaluations_per_epoch": 25})
    # ten optimizer steps an epoch, of which eight are 20 of 25 evaluations
    assert http.get(STUDY).json()["spec"]["pruner"]["options"] == {
        "eta": 2, "first": 20, "validation_share": 1.0, "top": 1
    }  # fmt: skip
    assert worker.take()["evaluate_at"] == [20, 25, 40, 50, 75, 80, 100]


@pytest.mark.slow
def test_a_first_rung_behind_the_end_of_a_trial_is_warned_of(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, first=None, epochs=1)
    assert worker.take()["evaluate_at"] == [1]
    assert any("the first rung would stand at evaluation 2 of 1" in one for one in http.get(STUDY).json()["warnings"])


@pytest.mark.slow
def test_stock_optuna_reads_a_study_with_paused_trials_and_what_it_begins_is_paused_again(
    http: TestClient, app: FastAPI, worker: RungWorker, database_url: str
) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    with stock_storage(database_url) as storage:
        stock = optuna.load_study(study_name="feedback", storage=storage)
        [paused] = stock.trials
        assert (paused.state.name, paused.intermediate_values) == ("WAITING", {1: 1.0})
        assert paused.user_attrs["spezia:paused"]["rung"] == 0
        assert len(stock.trials_dataframe()) == 1
        assert stock.ask().number == 0
    reap_all(app.state.parts.store)
    assert trial(http)["paused"]["rung"] == 0
    worker.work(falling)
    assert state(http) == "complete"


@ON_SQLITE
def test_no_trial_is_left_paused_where_another_program_has_added_more_than_were_to_begin(
    http: TestClient, app: FastAPI, worker: RungWorker, database_url: str
) -> None:
    begin(http, worker)
    worker.train(worker.take(), falling)
    with stock_storage(database_url) as storage:
        stock = optuna.load_study(study_name="feedback", storage=storage)
        stock.add_trials([optuna.trial.create_trial(value=0.5) for _ in range(4)])
    reap_all(app.state.parts.store)
    assert worker.work(falling) == [(0, "complete")]
    assert state(http) == "complete"
    assert http.get(STUDY).json()["trials"]["waiting"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", ["studies", "studies/{id}", "studies/{id}/param_importances"])
def test_optunas_dashboard_reads_a_study_with_paused_trials(
    http: TestClient, worker: RungWorker, database_url: str, path: str
) -> None:
    begin(http, worker)
    for _ in range(4):
        held = worker.ask()
        assert held is not None
        worker.train(held, falling)
    with stock_storage(database_url) as storage:
        answered: list[str] = []
        environ: dict[str, Any] = {"PATH_INFO": f"/api/{path.format(id=storage.get_study_id_from_name('feedback'))}"}
        setup_testing_defaults(environ)
        body = b"".join(optuna_dashboard.wsgi(storage)(environ, lambda status, *_: answered.append(status)))
    assert answered == ["200 OK"], body
    if path == "studies/{id}":
        shown = json.loads(body)["trials"][2]
        assert (shown["state"], shown["intermediate_values"]) == ("Waiting", [{"step": 1, "value": 3.0}])
        assert "spezia:paused" in [one["key"] for one in shown["user_attrs"]]


@pytest.mark.slow
def test_an_event_says_that_a_trial_is_paused(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2)
    worker.work(falling)
    told = [line[6:] for line in http.get(f"{STUDY}/events").text.splitlines() if line.startswith("data: ")]
    paused = [event["paused"]["rung"] for event in map(json.loads, told) if event.get("paused")]
    assert paused == [0, 0]


def test_of_trials_that_all_run_at_once_the_first_to_come_wait_for_the_others(
    http: TestClient, worker: RungWorker
) -> None:
    begin(http, worker, eta=4)
    workers = [worker, *(RungWorker(http) for _ in range(3))]
    held = [one.take() for one in workers]
    for one, mine in zip(workers[:3], held[:3], strict=True):
        assert one.report(mine, 1, 1.0 - 0.1 * mine["number"])["directive"] == "pause"
        one.release(mine, "paused", has_checkpoint=False)
        assert one.ask() is None
    assert workers[3].report(held[3], 1, 0.95)["directive"] == "pause"
    workers[3].release(held[3], "paused", has_checkpoint=False)
    goes_on = worker.ask()
    assert goes_on is not None
    assert goes_on["number"] == held[2]["number"]
