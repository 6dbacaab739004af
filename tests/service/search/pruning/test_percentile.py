"""Median and percentile are decided from sorted values, and as Optuna decides from all trials."""

import math
import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState

from service.search.pruning.curves import Curves
from service.search.pruning.pruners import build_pruner
from service.search.pruning.should_prune import should_prune
from spezia.contract.pruners import PercentilePruner
from spezia.contract.study_spec import StudySpec
from spezia.contract.tasks import Direction
from tests.service.search.builders import make_spec, make_trial

OWN = 1000
STATES = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
ODD = [math.nan, math.inf, -math.inf, 1e308, -1e308]
EPOCHS = IntDistribution(1, 5)

# few values, so that there are ties; or any that JSON cannot hold
tame = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7]) | st.floats(-2, 2)
values = st.lists(st.one_of(tame, tame, tame, st.sampled_from(ODD)), min_size=1, max_size=3)
steps = st.permutations([1, 2, 3])
options = st.fixed_dictionaries(
    {
        "percentile": st.sampled_from([0.0, 25.0, 50.0, 100.0]) | st.floats(0, 100),
        "n_startup_trials": st.integers(0, 2),
        "n_warmup_steps": st.integers(0, 1),
        "interval_steps": st.integers(1, 2),
        "n_min_trials": st.integers(1, 3),
    }
)


@st.composite
def studies(draw: st.DrawFn) -> tuple[FrozenTrial, list[FrozenTrial]]:
    """A trial to be judged, and the others."""
    name = draw(st.sampled_from(["dropout", "epochs", "epochs[method=lora]"]))
    states = draw(st.lists(st.sampled_from([*STATES, TrialState.RUNNING]), max_size=25))
    own = make_one(OWN, TrialState.RUNNING, name, draw)
    if all(map(math.isnan, own.intermediate_values.values())):
        own.intermediate_values[3] = 0.2
    return own, [make_one(number, state, name, draw) for number, state in enumerate(states)]


def make_one(number: int, state: TrialState, name: str, draw: st.DrawFn) -> FrozenTrial:
    reported = dict(zip(draw(steps), draw(values), strict=False))
    epochs = draw(st.none() | st.integers(1, 3)) if "[" in name else draw(st.integers(1, 3))
    params = {} if epochs is None else {name: epochs}
    return make_trial(
        number, state=state, intermediate_values=reported, params=params, distributions=dict.fromkeys(params, EPOCHS)
    )


@settings(max_examples=200, deadline=None)
@given(studies(), options, st.sampled_from(["validation_loss", "accuracy"]), st.data())
def test_decisions_equal_stock_optuna(
    study: tuple[FrozenTrial, list[FrozenTrial]], options: dict[str, Any], metric: str, data: st.DataObject
) -> None:
    own, trials = study
    spec = make_spec(pruner={"name": "percentile", "options": options}, objective={"metric": metric})
    in_any_order = data.draw(st.permutations(trials))
    first = data.draw(st.integers(0, len(trials)))
    curves = Curves().extended(in_any_order[:first]).extended(in_any_order[first:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's on NaN and infinite values
        decision = should_prune(spec, "s", own, [*trials, own], lambda: curves)
        assert decision.should_prune == stock(spec, own, trials)
        assert repr(decision) == repr(should_prune(spec, "s", own, trials))  # NaN does not equal itself


@pytest.mark.parametrize("metric", ["validation_loss", "accuracy"])
@pytest.mark.parametrize(
    "peers", [[-math.inf, -math.inf], [math.inf, math.inf], [-1e308, 1e308, 1e308], [0.1, math.nan]]
)
def test_values_without_a_difference_are_judged_as_by_stock_optuna(metric: str, peers: list[float]) -> None:
    options = {"n_startup_trials": 0, "percentile": 40.0}
    spec = make_spec(pruner={"name": "percentile", "options": options}, objective={"metric": metric})
    trials = [make_trial(number, intermediate_values={1: value}) for number, value in enumerate(peers)]
    for value in (-1.7e308, -1.0, 0.05, 1.0, 1.7e308):
        own = make_trial(OWN, state=TrialState.RUNNING, intermediate_values={1: value})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            assert should_prune(spec, "s", own, trials).should_prune == stock(spec, own, trials), value


def stock(spec: StudySpec, own: FrozenTrial, trials: list[FrozenTrial]) -> bool:
    """What Optuna's pruner says of a study that has the comparable trials only; start-up counts them all."""
    assert isinstance(spec.pruner, PercentilePruner)
    if sum(trial.state is TrialState.COMPLETE for trial in trials) < spec.pruner.options.n_startup_trials:
        return False
    study = optuna.create_study(direction=spec.direction)
    for trial in trials:
        if epochs(trial) is None or epochs(own) is None or epochs(trial) >= epochs(own):
            study.add_trial(trial)
    return bool(build_pruner(spec).prune(study, own))


def epochs(trial: FrozenTrial) -> Any:
    return next((value for name, value in trial.params.items() if name != "dropout"), None)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_hundreds_of_trials_are_judged_as_by_the_stock_median(direction: Direction) -> None:
    metric = {"minimize": "validation_loss", "maximize": "accuracy"}[direction]
    spec = make_spec(pruner={"name": "median"}, objective={"metric": metric})
    study = optuna.create_study(direction=direction, pruner=MedianPruner())
    trials = [
        make_trial(number, intermediate_values={1: math.sin(number), 2: math.cos(number)}) for number in range(302)
    ]
    for trial in trials:
        study.add_trial(trial)
    curves = Curves().extended(trials[290:]).extended(trials[:290])
    at_step_2 = sorted(trial.intermediate_values[2] for trial in trials)
    around = [value + shift for value in at_step_2[145:157] for shift in (-1e-4, -1e-9, 0.0, 1e-9, 1e-4)]
    pruned = []
    for value in [-3.0, *around, 3.0]:
        own = make_trial(OWN, state=TrialState.RUNNING, intermediate_values={2: value})
        pruned.append(should_prune(spec, "s", own, trials, lambda: curves).should_prune)
        # Optuna counts steps from 0, we from 1
        assert pruned[-1] == MedianPruner().prune(study, own), value
    assert pruned[0] != pruned[-1]


def test_curves_never_change() -> None:
    before = Curves().extended([make_trial(0, intermediate_values={1: 0.5})])
    shown = repr(vars(before))
    after = before.extended([make_trial(1, intermediate_values={1: 0.25, 2: 0.125})])
    assert repr(vars(before)) == shown
    assert [list(one) for one in after.at(1, None)] == [[0.25, 0.5]]
    assert after.n_complete == 2
