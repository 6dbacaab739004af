"""Several objectives and constraints, over HTTP, on both databases, and as stock Optuna sees them."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.settings import Settings
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.stock import stock_storage

STUDY = "/v1/studies/feedback"
TWO = [{"metric": "validation_loss"}, {"metric": "accuracy"}]
COSTS = [{"metric": "accuracy"}, {"metric": "device_seconds"}]
FLOOR = [{"metric": "accuracy", "at_least": 0.5}]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SCRIPT = {"task": "script", "script": "a.py", "model": None, "data": None}


def begin(http: TestClient, worker: HandWorker, n_trials: int = 10, **changes: Any) -> None:
    answer = http.post("/v1/studies", json=spec(n_trials=n_trials, **changes))
    assert answer.status_code == 201, answer.text
    worker.prepare()


def run(worker: HandWorker, *evaluations: tuple[float, float], size: int = 10) -> bool:
    """Run a trial of these losses and accuracies; whether its model was wanted."""
    held = worker.take()
    for step, (loss, accuracy) in enumerate(evaluations, start=1):
        reply = worker.report(held, step, loss, final=step == len(evaluations), accuracy=accuracy)
    if reply["keep_model"]:
        assert worker.upload(held, "weights.bin", bytes(size)).status_code == 204
    assert worker.finish(held).status_code == 200
    return bool(reply["keep_model"])


def best(http: TestClient) -> Any:
    return http.get(f"{STUDY}/best").json()


def trial(http: TestClient, number: int) -> Any:
    return http.get(f"{STUDY}/trials/{number}").json()


# what a study may ask for

REFUSED = [
    ({"objective": [TWO[0]]}, "objective", "2 entries or more"),
    ({"objective": [*TWO, {"metric": "acuracy"}]}, "objective.2.metric", "unknown metric; did you mean 'accuracy'?"),
    ({"objective": [*TWO, TWO[1]]}, "objective.2.metric", "listed twice"),
    ({"objective": [TWO[0], {"metric": "accuracy", "direction": "minimize"}]}, "objective.1.direction", "is maximize"),
    (
        {"objective": [TWO[0], {"metric": "span_f1"}]},
        "objective.1.metric",
        "is a metric of token-classification, not of",
    ),
    ({"objective": COSTS[::-1]}, "objective.0.metric", "cannot be the first objective"),
    (
        {"objective": {"metric": "generalization_gap"}},
        "objective.metric",
        "in constraints. The first may be validation",
    ),
    ({"objective": TWO, "pruner": {"name": "median"}}, "pruner.name", "use the pruner none"),
    ({"objective": TWO, "target_value": 0.1}, "target_value", "several objectives has no single target_value"),
    ({"objective": TWO, "sampler": {"name": "cmaes"}}, "sampler.name", "use tpe, gp, nsga2 or nsga3"),
    ({"constraints": FLOOR, "sampler": {"name": "cmaes"}}, "sampler.name", "nor constraints"),
    ({"constraints": [{"metric": "accuracy"}]}, "constraints.0.at_most", "give either at_most or at_least"),
    ({"constraints": [{"metric": "acuracy", "at_least": 0.5}]}, "constraints.0.metric", "unknown metric; did you mean"),
    (
        {"constraints": [*FLOOR, {"metric": "accuracy", "at_least": 0.6}]},
        "constraints.1.metric",
        "has two limits on the same side",
    ),
    ({"constraints": [*FLOOR, {"metric": "accuracy", "at_most": 0.4}]}, "constraints.1.metric", "no value meets both"),
    ({"constraints": [{"metric": "device_seconds", "at_least": 1}]}, "constraints.0.at_least", "give at_most"),
    (SCRIPT | {"objective": {"metric": "device_seconds"}}, "objective.metric", "a metric that train reports"),
    (SCRIPT | {"objective": [{"metric": "r2"}, TWO[0]]}, "objective.0.direction", "give minimize or maximize"),
]


@ON_SQLITE
@pytest.mark.parametrize(("changes", "field", "message"), REFUSED)
def test_what_does_not_go_together_is_refused_with_its_field(
    http: TestClient, changes: dict[str, Any], field: str, message: str
) -> None:
    body = {name: value for name, value in spec(**changes).items() if value is not None}
    answer = http.post("/v1/studies", json=body)
    assert answer.status_code == 422
    found = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert message in found[field]


@pytest.mark.parametrize("objective", [TWO[1], TWO, [*TWO, {"metric": "train_loss"}, COSTS[1]]])
def test_reading_a_spec_back_gives_what_was_posted(objective: Any) -> None:
    limits = [{"metric": "generalization_gap", "at_most": 0.3}, {"metric": "accuracy", "at_least": 0.0}]
    read = StudySpec.model_validate(spec(objective=objective, constraints=limits))
    assert StudySpec.model_validate_json(read.model_dump_json()) == read
    posted = objective if isinstance(objective, list) else [objective]
    dumped = read.model_dump()["objective"]
    assert isinstance(dumped, list) == isinstance(objective, list)
    assert [one.metric for one in read.objectives] == [one["metric"] for one in posted]
    assert None not in [one.direction for one in read.objectives]
    assert [one.name for one in read.constraints] == ["generalization_gap <= 0.3", "accuracy >= 0.0"]


def test_a_limit_may_be_zero_and_two_limits_may_touch() -> None:
    both = [{"metric": "accuracy", "at_least": 0.0}, {"metric": "accuracy", "at_most": 0.0}]
    assert StudySpec.model_validate(spec(constraints=both)).constraints[0].excess(0.0) == 0
    with pytest.raises(ValidationError, match="no value meets both"):
        StudySpec.model_validate(spec(constraints=[both[0], {"metric": "accuracy", "at_most": -0.1}]))


# what a study of several objectives answers


def test_the_front_is_the_answer_and_optunas_too(http: TestClient, worker: HandWorker, settings: Settings) -> None:
    begin(http, worker, objective=TWO, baseline=True)
    run(worker, (0.9, 0.5), (0.8, 0.6), (0.85, 0.9))  # the first objective chooses step 2, whatever accuracy says
    run(worker, (0.5, 0.7))
    run(worker, (0.4, 0.6))
    run(worker, (0.6, 0.65))  # dominated by trial 1
    worker.fail(worker.take())
    first, second = best(http)["pareto"]
    assert (first["number"], first["value"], first["metric"]) == (2, 0.4, "validation_loss")
    assert (second["number"], second["values"]) == (1, {"validation_loss": 0.5, "accuracy": 0.7})
    assert second["improvements"] == pytest.approx({"validation_loss": 0.3, "accuracy": 0.1})
    assert first["baseline"]["values"] == {"validation_loss": 0.8, "accuracy": 0.6}
    assert first["trials"]["complete"] == 4
    study = http.get(STUDY).json()
    assert (study["best"], study["pareto"]) == (None, [2, 1])
    with stock_study(settings) as stock:
        assert [trial.number for trial in stock.best_trials] == sorted(study["pareto"])
        assert [direction.name for direction in stock.directions] == ["MINIMIZE", "MAXIMIZE"]
        assert len(stock.trials_dataframe()) == 5


@contextmanager
def stock_study(settings: Settings) -> Iterator[optuna.Study]:
    """The study as Optuna itself reads it from our database."""
    assert settings.database_url is not None
    with stock_storage(settings.database_url) as storage:
        yield optuna.load_study(study_name="feedback", storage=storage)


@ON_SQLITE
def test_trials_are_listed_with_every_value(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, objective=TWO)
    run(worker, (0.5, 0.7))
    run(worker, (0.4, 0.6))
    held = worker.take()
    worker.report(held, 1, 0.3, accuracy=0.1)
    worker.finish(held, "PRUNED", failure_class="diverged", message="the loss is nan")
    listed = http.get(f"{STUDY}/trials", params={"order_by": "value"}).json()["trials"]
    assert [one["number"] for one in listed] == [1, 0, 2]
    assert [one["value"] for one in listed] == [0.4, 0.5, None]
    assert listed[0]["values"] == {"validation_loss": 0.4, "accuracy": 0.6}
    assert listed[2]["values"] == {}
    rows = list(csv.DictReader(io.StringIO(http.get(f"{STUDY}/trials.csv").text)))
    assert [row["values.accuracy"] for row in rows] == ["0.7", "0.6", ""]
    assert worker.take()["kind"] == "trial"  # samplers bear the PRUNED one


@ON_SQLITE
def test_what_a_trial_costs_may_be_an_objective(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    begin(http, worker, objective=COSTS)
    for accuracy, seconds in ((0.9, 30.0), (0.8, 10.0), (0.7, 20.0)):
        held = worker.take()
        if accuracy == 0.8:  # an interrupted attempt costs as well
            clock.advance(3.0)
            assert worker.release(held).status_code == 204
            held = worker.take()
        assert worker.report(held, 1, accuracy, final=True)["keep_model"] == (accuracy == 0.9)
        worker.tell(held, {"kind": "trial", "state": "COMPLETE", "device_seconds": seconds})
    front = best(http)["pareto"]
    assert [one["values"] for one in front] == [
        {"accuracy": 0.9, "device_seconds": 30.0},
        {"accuracy": 0.8, "device_seconds": 13.0},
    ]


def test_models_of_the_front_are_kept_and_have_cards(http: TestClient, worker: HandWorker, settings: Settings) -> None:
    test = {"train": "train.csv", "test": "test.csv"}
    begin(http, worker, n_trials=5, objective=TWO, training={"keep_models": 2}, data=test)
    wanted = [run(worker, one) for one in ((0.5, 0.5), (0.6, 0.4), (0.6, 0.7), (0.4, 0.4), (0.45, 0.6))]
    # 1 is dominated; 4 pushes 0 and then 2 out of the best two
    assert wanted == [True, False, True, True, True]
    front = best(http)["pareto"]
    assert [(one["number"], one["model"]) for one in front] == [
        (3, f"{STUDY}/trials/3/artifacts"),
        (4, f"{STUDY}/trials/4/artifacts"),
        (2, None),
    ]
    refused = http.get(f"{STUDY}/best/model")
    assert (refused.status_code, refused.json()["code"]) == (404, "no-model")
    assert "of trials 3, 4 (training.keep_models)" in refused.json()["detail"]
    study = http.get(STUDY).json()
    assert study["state"] == "complete"  # nothing is scored
    assert any(warning.startswith("data.test") for warning in study["warnings"])
    for one in front[:2]:
        card = (Path(one["model_directory"]) / "README.md").read_text()
        assert f"trial {one['number']} of study" in card
        assert "| objectives | minimize validation_loss, maximize accuracy |" in card
    assert len(list((settings.home / "artifacts").iterdir())) == 2


@ON_SQLITE
def test_importances_are_of_one_objective(http: TestClient, worker: HandWorker) -> None:
    space = spec()["search_space"] | {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    begin(http, worker, n_trials=20, objective=TWO, search_space=space)
    for _ in range(20):
        held = worker.take()
        params = held["params"]
        worker.report(held, 1, params["dropout"], final=True, accuracy=1 - 100 * params["learning_rate"])
        worker.finish(held)
    asked: list[dict[str, str]] = [{}, {"objective": "accuracy"}]
    shown = [http.get(f"{STUDY}/importances", params=query).json() for query in asked]
    assert [(one["objective"], next(iter(one["importances"]))) for one in shown] == [
        ("validation_loss", "dropout"),
        ("accuracy", "learning_rate"),
    ]
    refused = http.get(f"{STUDY}/importances", params={"objective": "f1_macro"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "objective")
    assert "it has validation_loss, accuracy" in refused.json()["detail"]


@ON_SQLITE
def test_a_report_without_a_metric_that_counts_is_refused(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, objective=TWO)
    refused = worker.send_report(worker.take(), 1, 0.5)
    assert (refused.status_code, refused.json()["code"]) == (409, "outcome-refused")
    assert "step 1 lack accuracy" in refused.json()["detail"]


# constraints


def test_the_best_meets_the_constraints_and_a_miss_is_told(
    http: TestClient, worker: HandWorker, settings: Settings
) -> None:
    begin(http, worker, constraints=FLOOR, baseline=True, target_value=0.3)
    assert run(worker, (0.25, 0.45)) is False  # reaches the target, were it not for the floor
    missing = http.get(f"{STUDY}/best")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-best")
    assert "the nearest is trial 0, which misses accuracy >= 0.5 by 0.05" in missing.json()["detail"]
    assert run(worker, (0.6, 0.4), (0.5, 0.5)) is True
    answer = best(http)
    assert (answer["number"], answer["improvement"]) == (1, -0.25)
    assert "the baseline does not meet accuracy >= 0.5" in answer["warnings"]
    assert trial(http, 0)["violations"] == pytest.approx({"accuracy >= 0.5": 0.05})
    assert trial(http, 1)["violations"] == {}
    rows = list(csv.DictReader(io.StringIO(http.get(f"{STUDY}/trials.csv").text)))
    assert [row["violations.accuracy >= 0.5"][:4] for row in rows] == ["0.04", ""]  # 0.04999…
    assert http.get(STUDY).json()["state"] == "running"
    with stock_study(settings) as stock:
        assert stock.best_trial.number == 1


@ON_SQLITE
def test_a_gap_and_a_cost_may_be_limited(http: TestClient, worker: HandWorker) -> None:
    limits = [{"metric": "generalization_gap", "at_most": 0.2}, {"metric": "device_seconds", "at_most": 1.5}]
    begin(http, worker, constraints=limits)
    for value, train_loss, seconds in ((0.5, 0.4, 1.0), (0.4, 0.1, 1.0), (0.3, 0.2, 2.0)):
        held = worker.take()
        worker.report(held, 1, value, final=True, train_loss=train_loss)
        worker.tell(held, {"kind": "trial", "state": "COMPLETE", "device_seconds": seconds})
    assert best(http)["number"] == 0
    assert [list(trial(http, number)["violations"]) for number in range(3)] == [
        [],
        ["generalization_gap <= 0.2"],
        ["device_seconds <= 1.5"],
    ]


@ON_SQLITE
def test_constraints_go_with_several_objectives(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, objective=TWO, constraints=FLOOR)
    for one in ((0.2, 0.4), (0.5, 0.6), (0.4, 0.5)):
        run(worker, one)
    assert [one["number"] for one in best(http)["pareto"]] == [2, 1]


@ON_SQLITE
def test_a_pruner_goes_with_constraints(http: TestClient, worker: HandWorker) -> None:
    pruner = {"name": "median", "options": {"n_startup_trials": 1}}
    begin(http, worker, constraints=FLOOR, pruner=pruner)
    run(worker, (0.5, 0.9), (0.4, 0.9))
    held = worker.take()
    assert worker.report(held, 1, 0.9, accuracy=0.9)["should_prune"]
    worker.finish(held, "PRUNED")
    assert (trial(http, 1)["value"], trial(http, 1)["violations"]) == (0.9, {})
