"""Evaluations at rungs that read a part of the validation rows: what they decide, and what they never are."""

from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.service.held_trial import trial
from tests.service.rung_worker import RungWorker, rungs_spec
from tests.stock import stock_storage

STUDY = "/v1/studies/feedback"
KIND = {"method": "full", "frozen_blocks": 0, "gradient_checkpointing": False, "batch_size": 16}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Of the stories that are told quickly; the others are told on both databases."""


def times(**seconds: float) -> dict[str, Any]:
    """Facts of a study whose steps were timed."""
    return {"step_times": {"device": "a CPU", "kinds": [KIND | seconds], "load_seconds": 1.0, "peak_memory_bytes": 0}}


@pytest.fixture
def worker(http: TestClient) -> RungWorker:
    return RungWorker(http)


def begin(http: TestClient, worker: RungWorker, **changes: Any) -> None:
    """A study of four trials of two epochs of eight steps, with rungs at 1, 2, 4 and 8; it reads a part at 1 and 2."""
    study = rungs_spec(epochs=2, validation_share=0.25, training={"evaluations_per_epoch": 8})
    assert http.post("/v1/studies", json=study | changes).status_code == 201
    worker.prepare()


def falling(number: int, step: int) -> float:
    """A loss by which a lower number is better at every step, and lowest where a part of the rows is read."""
    return number + step / 100


def test_values_of_a_part_decide_who_goes_on_and_are_nobodys_value(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker)
    held = worker.take()
    assert (held["evaluate_at"], held["partial_at"]) == ([1, 2, 4, 8, 16], {"1": 0.25, "2": 0.5})
    worker.train(held, falling)
    shown = trial(http)
    assert (shown["state"], shown["step"], shown["paused"]["rung"], shown["best_step"]) == ("WAITING", 1, 0, None)
    worker.work(falling)
    shown = [trial(http, number) for number in range(4)]
    assert [one["state"] for one in shown] == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    # the values at steps 1 and 2 are the lowest
    assert [one["value"] for one in shown] == [0.04, None, None, None]
    assert [(row["step"], row["partial"]) for row in shown[0]["intermediate_values"]] == [
        (1, True), (2, True), (4, False), (8, False), (16, False)
    ]  # fmt: skip
    assert (shown[0]["best_step"], shown[1]["best_step"]) == (4, None)
    assert [one["decisions"][0]["rank"] for one in shown[1:]] == [2, 3, 4]
    best = http.get(f"{STUDY}/best").json()
    assert (best["value"], best["step"]) == (0.04, 4)
    curves = http.get(f"{STUDY}/curves").json()
    assert curves["steps"] == [[4, 8, 16], [], [], []]
    assert http.get(f"{STUDY}/curves", params={"metric": "train_loss"}).json()["steps"] == [[4, 8, 16], [], [], []]
    assert [line.split(",")[:3] for line in http.get(f"{STUDY}/trials.csv").text.splitlines()[1:3]] == [
        ["0", "COMPLETE", "0.04"], ["1", "PRUNED", ""]
    ]  # fmt: skip
    assert http.get("/studies/feedback/trials/1", headers={"accept": "text/html"}).status_code == 200


def test_stock_optuna_sees_values_of_the_whole_split_alone(
    http: TestClient, worker: RungWorker, database_url: str
) -> None:
    begin(http, worker)
    worker.work(falling)
    with stock_storage(database_url) as storage:
        stock = optuna.load_study(study_name="feedback", storage=storage)
        assert [one.intermediate_values for one in stock.trials] == [{4: 0.04, 8: 0.08, 16: 0.16}, {}, {}, {}]
        assert stock.best_value == 0.04
        assert len(stock.trials_dataframe()) == 4


@ON_SQLITE
def test_a_trial_that_begins_anew_keeps_its_place_and_no_value_of_a_part(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2)
    for _ in range(2):
        held = worker.take()
        assert worker.report(held, 1, falling(held["number"], 1), partial=True)["directive"] == "pause"
        worker.release(held, "paused", has_checkpoint=False)
    held = worker.take()
    assert (held["number"], held["resume"]) == (0, None)
    assert http.get(f"{STUDY}/trials").json()["trials"][0]["step"] == 0
    assert worker.report(held, 1, 7.0, partial=True)["directive"] == "continue"
    shown = trial(http)
    assert (shown["step"], [row["value"] for row in shown["intermediate_values"]]) == (1, [7.0])


@ON_SQLITE
def test_a_trial_goes_on_from_a_checkpoint_at_a_value_of_a_part(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2)
    for _ in range(2):
        worker.train(worker.take(), falling)
    held = worker.ask()
    assert held is not None
    assert (held["resume"]["attempt"], held["resume"]["step"]) == (1, 1)
    shown = trial(http)
    assert [(row["step"], row["partial"]) for row in shown["intermediate_values"]] == [(1, True)]
    assert shown["step"] == 1


@ON_SQLITE
@pytest.mark.parametrize(
    ("step", "final", "message"),
    [(4, False, "only steps 1, 2 may read a part"), (1, True, "step 1 is to read all validation rows")],
)
def test_a_part_is_read_only_where_that_was_asked_for(
    http: TestClient, worker: RungWorker, step: int, final: bool, message: str
) -> None:
    begin(http, worker)
    answer = worker.send_report(worker.take(), step, 0.5, final=final, partial=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "outcome-refused")
    assert message in answer.json()["detail"]
    assert trial(http)["intermediate_values"] == []


@ON_SQLITE
def test_a_trial_that_its_budget_ends_before_it_has_read_all_rows_is_pruned_without_a_value(
    http: TestClient, worker: RungWorker
) -> None:
    begin(http, worker)
    held = worker.take()
    worker.report(held, 1, 0.5, partial=True)
    told = worker.finish(held, "PRUNED", failure_class="budget", message="no time is left")
    assert told.status_code == 200
    assert (trial(http)["state"], trial(http)["value"]) == ("PRUNED", None)


@ON_SQLITE
@pytest.mark.parametrize(
    ("rows", "evaluation_seconds", "share"),
    [(10_000, 1.0, 0.1), (1_000, 100.0, 0.256), (200, 100.0, 1.0), (10_000, 0.01, 1.0)],
    ids=["a tenth of the training", "enough rows", "few rows", "cheap"],
)
def test_the_share_is_decided_when_the_study_is_prepared(
    http: TestClient, worker: RungWorker, rows: int, evaluation_seconds: float, share: float
) -> None:
    study = rungs_spec(epochs=2, training={"evaluations_per_epoch": 8})
    assert http.post("/v1/studies", json=study).status_code == 201
    timed = times(epoch_seconds=8.0, evaluation_seconds=evaluation_seconds)
    worker.prepare(**timed | {"validation_rows": rows})
    assert http.get(STUDY).json()["spec"]["pruner"]["options"]["validation_share"] == share
    asked = worker.take()["partial_at"]
    assert asked == {str(step): share * step for step in (1, 2, 4, 8) if share * step < 1}


@pytest.mark.slow
def test_the_winner_is_confirmed_and_replayed_by_the_same_evaluations(http: TestClient, worker: RungWorker) -> None:
    begin(http, worker, n_trials=2, confirm={"top": 1, "seeds": 2}, baseline=True)
    held = worker.ask()
    while held is not None and held["kind"] == "trial":
        worker.train(held, falling)
        held = worker.ask()
    assert held is not None
    assert (held["kind"], held["evaluate_at"]) == ("confirm", [4, 8, 16])
    assert http.post(f"{STUDY}/trials/0/replay").status_code in (200, 201, 202)
    held = RungWorker(http).take()
    while held["kind"] != "replay":
        held = RungWorker(http).take()
    assert (held["evaluate_at"], held["partial_at"]) == ([1, 2, 4, 8, 16], {"1": 0.25, "2": 0.5})
