"""Who leads a study: with one objective, with several, and under constraints; Optuna's own answer beside ours."""

import random
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from service.search.propose.propose import ProposalRequest, propose
from service.search.results.ranking import best_trial, nearest_miss, rank_if_complete, ranked
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import make_spec, make_trial

TWO = [{"metric": "validation_loss"}, {"metric": "accuracy"}]
THREE = [*TWO, {"metric": "device_seconds"}]
FLOOR = [{"metric": "accuracy", "at_least": 0.5}]


def ended(number: int, values: Sequence[float], excess: float | None = None, **fields: Any) -> FrozenTrial:
    attrs = {} if excess is None else {"constraints:accuracy >= 0.5": excess}
    return make_trial(number, values=list(values), value=None, system_attrs=attrs, **fields)


def numbers(trials: Sequence[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


@pytest.mark.parametrize("objective", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_optunas(objective: list[dict[str, str]], seed: int) -> None:
    spec = make_spec(objective=objective, constraints=FLOOR)
    draw = random.Random(seed)
    # few different values, so that many are equal
    trials = [
        ended(number, [draw.randrange(6) / 4 for _ in objective], excess=draw.choice([-0.1, 0.0, 0.2]))
        for number in range(60)
    ]
    study = optuna.create_study(directions=spec.directions)
    study.add_trials(trials)
    front = ranked(trials, spec)
    assert sorted(numbers(front)) == numbers(study.best_trials)
    assert front == sorted(
        front, key=lambda trial: (trial.values[0], -trial.values[1], *trial.values[2:], trial.number)
    )
    assert len(front) < 60


def test_only_a_complete_trial_of_finite_values_leads() -> None:
    spec = make_spec(objective=TWO)
    trials = [ended(0, [0.1, float("inf")]), make_trial(1, state=TrialState.PRUNED, value=None), ended(2, [0.9, 0.1])]
    assert numbers(ranked(trials, spec)) == [2]
    assert ranked([], spec) == []


def test_one_that_misses_a_constraint_never_leads() -> None:
    spec = make_spec(constraints=FLOOR)
    trials = [ended(0, [0.1], excess=0.3), ended(1, [0.5], excess=0.0), ended(2, [0.4], excess=0.2)]
    assert numbers(ranked(trials, spec)) == [1]
    assert best_trial([trials[0], trials[2]], spec) is None
    assert nearest_miss([trials[0], trials[2]]) == (2, {"accuracy >= 0.5": 0.2})
    assert nearest_miss([trials[1]]) is None


@pytest.mark.parametrize(
    ("values", "rank"), [([0.1, 0.5], 0), ([0.25, 0.85], 1), ([0.5, 0.99], 2), ([0.4, 0.9], None), ([0.3, 0.9], 2)]
)
def test_a_trial_that_would_be_dominated_has_no_place(values: list[float], rank: int | None) -> None:
    others = [ended(0, [0.2, 0.8]), ended(1, [0.3, 0.9])]
    assert rank_if_complete(2, values, others, make_spec(objective=TWO)) == rank


def test_a_place_of_one_objective_goes_by_value_then_number() -> None:
    others = [ended(0, [0.8]), ended(2, [0.6])]
    spec = make_spec(objective={"metric": "accuracy"})
    assert [rank_if_complete(1, [value], others, spec) for value in (0.9, 0.8, 0.6, 0.5)] == [0, 1, 1, 2]


SAMPLERS = [
    {"name": "tpe", "options": {"n_startup_trials": 5}},
    {"name": "tpe", "options": {"n_startup_trials": 5, "group": True}},
    {"name": "gp", "options": {"n_startup_trials": 9}},
    {"name": "nsga2", "options": {"population_size": 4}},
    {"name": "nsga3", "options": {"population_size": 4}},
    {"name": "random"},
    {"name": "qmc"},
]


def history(spec: StudySpec, n_trials: int) -> list[FrozenTrial]:
    """Trials whose losses fall and costs rise with weight decay; every fifth is PRUNED."""
    trials: list[FrozenTrial] = []
    attrs: dict[str, Any] = {}
    for number in range(n_trials):
        proposal = propose(
            ProposalRequest(spec=spec, study_name="s", number=number, trials=trials, study_system_attrs=attrs)
        )
        assert proposal is not None
        attrs |= proposal.study_system_attrs
        decay = float(proposal.params["weight_decay"])
        fields: dict[str, Any] = {"params": proposal.params, "distributions": proposal.distributions}
        if number % 5 == 4:
            trial = make_trial(number, state=TrialState.PRUNED, value=None, intermediate_values={1: 0.5}, **fields)
        else:
            trial = ended(number, [1 - decay, 0.5 + decay, 100 * decay][: len(spec.objectives)], **fields)
            if spec.constraints:
                trial.set_constraint("validation_loss <= 0.8", 0.2 - decay)
            trial.system_attrs.update(proposal.system_attrs)
        trials.append(trial)
    return trials


@pytest.mark.parametrize("objective", [TWO, {"metric": "validation_loss"}], ids=["two", "one"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_goes_on_with_objectives_constraints_and_ended_trials(
    sampler: dict[str, Any], objective: Any
) -> None:
    limits = [{"metric": "validation_loss", "at_most": 0.8}]
    trials = history(make_spec(sampler=sampler, objective=objective, constraints=limits, seed=1), 12)
    assert len({tuple(trial.params.values()) for trial in trials}) > 6


def test_tpe_goes_where_constraints_are_met() -> None:
    limits = [{"metric": "validation_loss", "at_most": 0.8}]  # met from a weight decay of 0.2 on
    options = {"name": "tpe", "options": {"n_startup_trials": 10}}
    cheap = [{"metric": "validation_loss"}, {"metric": "device_seconds"}]
    free, bound = (
        history(make_spec(sampler=options, objective=cheap, constraints=constraints, seed=3), 40)
        for constraints in ([], limits)
    )
    met = [sum(trial.params["weight_decay"] >= 0.2 for trial in trials[10:]) for trials in (free, bound)]
    assert met[1] > met[0]
