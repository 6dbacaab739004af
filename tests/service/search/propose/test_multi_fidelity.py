"""The sampler multi-fidelity learns from values at all rungs, and from nothing but the request."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from service.search.propose.multi_fidelity import next_point
from service.search.propose.process import normal_scores
from service.search.propose.rows import Row
from spezia.contract.study_spec import Params, StudySpec
from tests.service.search.builders import History, make_spec, make_trial, toy_loss

PRUNERS: list[dict[str, Any]] = [
    {"name": "rungs", "options": {"first": 1, "eta": 4}},
    {"name": "median"},
    {"name": "none"},
]
by_pruner = pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: pruner["name"])


def spec_of(pruner: dict[str, Any], *, random_share: float = 0.0, metric: str = "validation_loss") -> StudySpec:
    return make_spec(
        sampler={"name": "multi-fidelity", "options": {"random_share": random_share}},
        pruner=pruner,
        objective={"metric": metric},
        training={"evaluations_per_epoch": 4},
        seed=3,
    )


def stopped(number: int, params: Params, history: History, *, at: int = 4) -> FrozenTrial:
    """A trial that ended early; its values come from above towards its loss."""
    values = {step: toy_loss(params) + math.exp(-step) for step in range(1, at + 1)}
    ranges = history.trials[0].distributions
    state = TrialState.PRUNED
    return make_trial(
        number, state=state, value=values[at], params=params, distributions=ranges, intermediate_values=values
    )


def random_trials(n_trials: int) -> History:
    history = History(make_spec(sampler={"name": "random"}, seed=3))
    history.run(n_trials)
    return history


@by_pruner
def test_trials_that_all_ended_early_teach_as_well(pruner: dict[str, Any]) -> None:
    history = random_trials(40)
    early = [stopped(trial.number, trial.params, history) for trial in history.trials]
    spec = spec_of(pruner)
    proposed = [next_point(spec, 40 + number, early, {}) for number in range(8)]
    middle = float(np.median([toy_loss(trial.params) for trial in early]))
    assert max(map(toy_loss, proposed)) < middle / 2


def test_the_best_of_a_high_rung_are_no_worse_than_all_of_a_low_one() -> None:
    # of the higher rung only good trials have values, and among these each looks mediocre
    history = random_trials(40)
    trials = [stopped(trial.number, trial.params, history, at=1) for trial in history.trials]
    by_loss = sorted(trials, key=lambda trial: toy_loss(trial.params))
    for trial in by_loss[:8]:
        trials[trial.number] = stopped(trial.number, trial.params, history, at=16)
    spec = spec_of(PRUNERS[0])
    proposed = [next_point(spec, 40 + number, trials, {}) for number in range(8)]
    assert float(np.median([toy_loss(params) for params in proposed])) < toy_loss(by_loss[8].params)


@by_pruner
def test_direction_decides_what_is_better(pruner: dict[str, Any]) -> None:
    history = random_trials(30)
    trials = [stopped(trial.number, trial.params, history) for trial in history.trials]
    downwards = next_point(spec_of(pruner), 30, trials, {})
    for trial in trials:
        trial.intermediate_values = {step: -value for step, value in trial.intermediate_values.items()}
        trial.values = [-trial.values[0]] if trial.values else None
    maximised = spec_of(pruner, metric="accuracy")
    assert next_point(maximised, 30, trials, {}) == downwards


def test_only_the_order_of_values_counts() -> None:
    history = random_trials(30)
    spec = spec_of(PRUNERS[0])
    trials = [stopped(trial.number, trial.params, history) for trial in history.trials]
    expected = next_point(spec, 30, trials, {})
    for trial in trials:
        trial.intermediate_values = {step: math.exp(9 * value) for step, value in trial.intermediate_values.items()}
    assert next_point(spec, 30, list(reversed(trials)), {}) == expected


def test_nan_and_infinity_teach_nothing() -> None:
    history = random_trials(20)
    spec = spec_of(PRUNERS[0])
    trials = [stopped(trial.number, trial.params, history) for trial in history.trials]
    expected = next_point(spec, 21, trials, {})
    for number, value in ((20, math.nan), (22, math.inf), (23, -math.inf)):
        # of the worst trial, which is not among the best that others are drawn near to
        trial = stopped(number, max(trials, key=lambda one: toy_loss(one.params)).params, history)
        trial.intermediate_values = {1: value, 4: value, 16: value}
        trials.append(trial)
    assert next_point(spec, 21, trials, {}) == expected


def test_what_runs_is_not_proposed_again() -> None:
    history = random_trials(30)
    spec = spec_of(PRUNERS[0])
    trials = [stopped(trial.number, trial.params, history) for trial in history.trials]
    proposed = next_point(spec, 31, trials, {})
    ranges = history.trials[0].distributions
    running = make_trial(30, state=TrialState.RUNNING, params=proposed, distributions=ranges)
    assert next_point(spec, 31, [*trials, running], {}) != proposed


def test_scores_of_a_higher_rung_stand_where_its_trials_stood_below() -> None:
    low = [Row(number, 0, float(number)) for number in range(16)]
    # the four best go on, and change places
    high = [Row(number, 1, -float(number)) for number in range(4)]
    scores_N = normal_scores([*low, *high])
    assert list(scores_N[:16]) == sorted(scores_N[:16])
    assert list(scores_N[16:]) == sorted(scores_N[16:], reverse=True)
    assert scores_N[16:].mean() == pytest.approx(scores_N[:4].mean())
    assert scores_N[16:].max() < scores_N[8]
    assert scores_N[:16].max() == scores_N[14]  # the worst fifth are alike


def test_a_share_of_the_trials_is_random() -> None:
    history = random_trials(30)
    trials = [stopped(trial.number, trial.params, history) for trial in history.trials]
    points = [
        [next_point(spec_of(PRUNERS[0], random_share=share), number, trials, {}) for number in range(30, 60)]
        for share in (0.0, 1 / 3, 1.0)
    ]
    n_random = sum(some == drawn for some, drawn in zip(points[1], points[2], strict=True))
    assert 4 <= n_random <= 16
    assert not any(some == drawn for some, drawn in zip(points[0], points[2], strict=True))


@pytest.mark.parametrize(
    "fields",
    [
        {"objective": [{"metric": "validation_loss"}, {"metric": "accuracy"}]},
        {"constraints": [{"metric": "accuracy", "at_least": 0.5}]},
    ],
    ids=["objectives", "constraints"],
)
def test_it_has_one_objective(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="multi-fidelity supports neither several objectives nor constraints"):
        make_spec(sampler={"name": "multi-fidelity"}, **fields)


@pytest.mark.slow
def test_a_proposal_among_thousands_of_trials_takes_little_memory() -> None:
    history = random_trials(40)
    trials = [
        stopped(number, history.trials[number % 40].params, history, at=1 + number % 4) for number in range(5_000)
    ]
    tracemalloc.start()
    try:
        next_point(spec_of(PRUNERS[0]), 5_000, trials, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6  # bytes; it was 146e6 when all were compared with all
