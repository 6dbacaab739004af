"""What is said about learning curves."""

from dataclasses import replace
from typing import Any

import pytest

from service.search.results.explain import explain
from service.search.results.learning_curve import Point, generalization_gap
from spezia.contract.study_spec import StudySpec
from tests.service.hand_worker import spec
from tests.service.search.builders import make_facts


def study(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(spec(**changes))


def curve(*losses: tuple[float, float], objective: str = "validation_loss", **others: list[float]) -> list[Point]:
    """Validation and training loss of each step."""
    points = []
    for step, (validation, train) in enumerate(losses, start=1):
        metrics = {"validation_loss": validation, "train_loss": train}
        metrics |= {name: values[step - 1] for name, values in others.items()}
        points.append(Point(step=step, epoch=float(step), value=metrics[objective], metrics=metrics))
    return points


GOOD = [(0.70, 0.72), (0.60, 0.61), (0.598, 0.58)]


SPACE = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}}


EPOCHS = {"epochs": {"type": "int", "low": 1, "high": 8}}


DROPOUT = {"dropout": {"type": "float", "low": 0.0, "high": 0.2}}


DECAY = {"weight_decay": {"type": "float", "low": 0.0, "high": 0.3}}


LONG = {"epochs": 4}
FULL_LENGTH = {"epochs": 3}


def said(spec: StudySpec, params: dict[str, Any], steps: list[Point]) -> list[str]:
    return [str(one) for one in explain(spec, params, steps, make_facts())]


def test_nothing_is_said_about_a_good_curve_or_none() -> None:
    assert said(study(), {}, curve(*GOOD)) == []
    assert said(study(), {}, []) == []
    assert said(study(), {}, curve((0.5, 0.5))) == []


@pytest.mark.parametrize(
    ("space", "params", "advice"),
    [
        (SPACE | EPOCHS, LONG, "set search_space.epochs.high to 2, or search dropout from 0 to 0.4"),
        (SPACE, LONG, "set fixed.epochs to 2, or search dropout from 0 to 0.4"),
        (SPACE | EPOCHS | DROPOUT, LONG | {"dropout": 0.19}, "or set search_space.dropout.high to 0.4"),
        (SPACE | EPOCHS | DROPOUT, LONG | {"dropout": 0.05}, "or search weight_decay from 0 to 0.3"),
        (
            SPACE | DROPOUT | DECAY,
            LONG | {"dropout": 0.05, "weight_decay": 0.1},
            "or search frozen_layers from 0 to 3, or give more training data",
        ),
        (
            SPACE | DROPOUT | DECAY,
            LONG | {"dropout": 0.05, "weight_decay": 0.1, "method": "head_only"},
            "set fixed.epochs to 2, or give more training data",
        ),
        (SPACE | EPOCHS | {"epochs": {"type": "int", "low": 2, "high": 8}}, LONG, "fix epochs at 2"),
        (
            SPACE | {"epochs": {"type": "categorical", "choices": [1, 2, 4, 8]}},
            LONG,
            "take 4 and 8 out of search_space.epochs.choices",
        ),
        (SPACE | {"epochs": {"type": "categorical", "choices": [4, 8]}}, LONG, "fix epochs at 2"),
    ],
)
def test_overfitting_is_told_with_the_edit_that_helps(
    space: dict[str, Any], params: dict[str, Any], advice: str
) -> None:
    spec = study(search_space=space, n_trials=20)
    (only,) = said(spec, params, curve((0.7, 0.7), (0.4, 0.38), (0.45, 0.3), (0.52, 0.12)))
    assert only.startswith(
        "validation loss rose from 0.4 at step 2 to 0.52 at step 4 while training loss fell from 0.38"
    )
    assert advice in only


def test_rising_training_loss_is_not_overfitting() -> None:
    (only,) = said(study(), {}, curve((0.5, 0.5), (0.4, 0.4), (0.6, 0.7)))
    assert "the best evaluation was step 2 of 3: later ones were no better; set fixed.epochs to 2" in only


def test_curve_that_still_falls_should_be_longer() -> None:
    falling = curve((0.9, 0.9), (0.7, 0.7), (0.6, 0.6))
    (only,) = said(study(), FULL_LENGTH, falling)
    assert only.endswith("still improved at the last step, from 0.7 to 0.6: train longer; set fixed.epochs to 6")
    to_three = {"epochs": {"type": "int", "low": 1, "high": 3}}
    (only,) = said(study(search_space=SPACE | to_three), FULL_LENGTH, falling)
    assert only.endswith("set search_space.epochs.high to 6")
    among = {"epochs": {"type": "categorical", "choices": [1, 2, 3]}}
    (only,) = said(study(search_space=SPACE | among), FULL_LENGTH, falling)
    assert only.endswith("add 6 to search_space.epochs.choices")


def test_trial_that_ended_early_or_that_the_search_can_outlast_is_not_told_to_train_longer() -> None:
    falling = curve((0.9, 0.9), (0.7, 0.7), (0.6, 0.6))
    assert said(study(), {"epochs": 4}, falling) == []
    assert said(study(search_space=SPACE | EPOCHS), FULL_LENGTH, falling) == []


def test_large_gap_is_told() -> None:
    (only,) = said(study(n_trials=20), {"epochs": 2}, curve((0.5, 0.2), (0.499, 0.05)))
    assert "a gap of 0.449 nats" in only
    assert only.endswith("give more training data, or search dropout from 0 to 0.4")


def test_no_further_parameter_is_to_be_searched_where_trials_are_too_few() -> None:
    (only,) = said(study(n_trials=3), {"epochs": 2, "method": "lora"}, curve((0.5, 0.2), (0.499, 0.05)))
    assert only.endswith("by heart; give more training data")


def test_metric_that_disagrees_with_the_loss_is_told() -> None:
    steps = curve((0.5, 0.5), (0.501, 0.49), accuracy=[0.8, 0.9])
    (only,) = said(study(), {"epochs": 1}, steps)
    assert "validation loss was best at step 1, accuracy at step 2 (0.9 against 0.8)" in only
    assert only.endswith("if accuracy is what counts, set objective.metric to accuracy")
    assert said(study(target_value=0.1), {"epochs": 1}, steps) == []  # 0.1 would be an accuracy then


def test_loss_that_disagrees_with_the_metric_is_told() -> None:
    accuracy = study(objective={"metric": "accuracy"})
    steps = curve((0.5, 0.5), (0.7, 0.6), accuracy=[0.8, 0.801], objective="accuracy")
    (only,) = said(accuracy, {}, steps)
    assert "accuracy was best at step 2, where validation loss is 0.7; it was lowest at step 1 with 0.5" in only
    assert "if its probabilities matter, set objective.metric to validation_loss" in only


@pytest.mark.parametrize("objective", ["validation_loss", "accuracy"])
@pytest.mark.parametrize("n_missing", [1, 2, 3, 4])
@pytest.mark.parametrize("metric", ["accuracy", "validation_loss", "train_loss"])
def test_metric_of_only_some_evaluations_breaks_nothing(objective: str, metric: str, n_missing: int) -> None:
    losses = [(0.7, 0.7), (0.4, 0.38), (0.45, 0.3), (0.52, 0.12)]
    steps = curve(*losses, accuracy=[0.5, 0.7, 0.8, 0.9], objective=objective)
    for step in range(4):
        missing = {(step + index) % 4 for index in range(n_missing)}
        told = [
            replace(point, metrics={name: value for name, value in point.metrics.items() if name != metric})
            if index in missing
            else point
            for index, point in enumerate(steps)
        ]
        said(study(objective={"metric": objective}), {}, told)


def test_gap_that_is_reported_without_the_losses_is_none_of_ours() -> None:
    alone = Point(step=1, epoch=1.0, value=0.5, metrics={"accuracy": 0.5, "generalization_gap": 3.0})
    assert said(study(objective={"metric": "accuracy"}), {}, [alone]) == []


def test_no_gap_without_both_losses() -> None:
    assert generalization_gap({"validation_loss": 0.5}) is None
    assert generalization_gap({"validation_loss": 0.5, "train_loss": 0.2}) == pytest.approx(0.3)
