import random
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
)
from optuna.trial import FrozenTrial, TrialState

from service.search.pruning.curves import Curves
from service.search.pruning.pruners import longest_schedule
from service.search.pruning.should_prune import Decision, should_prune
from spezia.contract.pruners import Pruner
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import SPACE, Unseen, make_spec, make_trial, names_of

N_STEPS = 9
# name, options, Optuna's pruner, how far Optuna's first step lies before ours
STOCK: list[tuple[str, dict[str, Any], Callable[[], BasePruner], int]] = [
    ("median", {}, MedianPruner, 1),
    (
        "median",
        {"n_startup_trials": 2, "n_warmup_steps": 2, "interval_steps": 3, "n_min_trials": 2},
        lambda: MedianPruner(n_startup_trials=2, n_warmup_steps=2, interval_steps=3, n_min_trials=2),
        1,
    ),
    (
        "percentile",
        {"percentile": 30.0, "n_startup_trials": 3},
        lambda: PercentilePruner(30.0, n_startup_trials=3),
        1,
    ),
    (
        "successive-halving",
        {"reduction_factor": 2},
        lambda: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        0,
    ),
    (
        "successive-halving",
        {"min_resource": 2, "reduction_factor": 2, "bootstrap_count": 3},
        lambda: SuccessiveHalvingPruner(min_resource=2, reduction_factor=2, bootstrap_count=3),
        0,
    ),
    ("hyperband", {}, lambda: HyperbandPruner(min_resource=1, max_resource=N_STEPS), 0),
    (
        "hyperband",
        {"max_resource": 8, "reduction_factor": 2},
        lambda: HyperbandPruner(min_resource=1, max_resource=8, reduction_factor=2),
        0,
    ),
    (
        "threshold",
        {"lower": 0.2, "upper": 0.9, "n_warmup_steps": 2, "interval_steps": 2},
        lambda: ThresholdPruner(lower=0.2, upper=0.9, n_warmup_steps=2, interval_steps=2),
        1,
    ),
]


def test_every_pruner_of_the_contract_is_compared_with_optunas() -> None:
    # patient alone needs no other trial, and has a test of its own below; rungs end nothing, and are ours
    assert {name for name, *_ in STOCK} == names_of(Pruner) - {"none", "patient", "rungs"}


@pytest.mark.parametrize("metric", ["validation_loss", "accuracy"])
@pytest.mark.parametrize(("name", "options", "stock", "shift"), STOCK)
def test_decisions_equal_stock_optuna(
    metric: str, name: str, options: dict[str, Any], stock: Callable[[], BasePruner], shift: int
) -> None:
    spec = make_spec(
        search_space={"dropout": {"type": "float", "low": 0.0, "high": 0.5}},
        fixed={"epochs": N_STEPS},
        pruner={"name": name, "options": options},
        objective={"metric": metric},
    )
    study = optuna.create_study(study_name="s", direction=spec.direction, pruner=stock())
    rng = random.Random(f"{name}{metric}")
    trials: list[FrozenTrial] = []
    pruned = 0
    for number in range(40):
        theirs = study.ask()
        ours = make_trial(number, state=TrialState.RUNNING)
        decision = Decision(should_prune=False, reason=None, system_attrs={})
        level = rng.random()
        for step in range(1, N_STEPS + 1):
            value = level + rng.gauss(0, 0.1) - 0.02 * step
            theirs.report(value, step - shift)
            ours.intermediate_values[step] = value
            decision = should_prune(spec, "s", ours, trials)
            ours.system_attrs |= decision.system_attrs
            assert decision.should_prune == theirs.should_prune(), (number, step)
            assert (decision.reason is not None) == decision.should_prune
            if decision.should_prune:
                break
        pruned += decision.should_prune
        state = TrialState.PRUNED if decision.should_prune else TrialState.COMPLETE
        study.tell(theirs, None if decision.should_prune else level, state)
        trials.append(ended(ours, state, level))
    assert 0 < pruned < 40


@pytest.mark.parametrize(("metric", "sign"), [("validation_loss", 1), ("accuracy", -1)])
def test_patient_prunes_what_no_longer_improves(metric: str, sign: int) -> None:
    options = {"patience": 2, "min_delta": 0.05}
    spec = make_spec(pruner={"name": "patient", "options": options}, objective={"metric": metric})
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        stock = PatientPruner(None, patience=2, min_delta=0.05)
    study = optuna.create_study(direction=spec.direction, pruner=stock)
    theirs, ours = study.ask(), make_trial(0, state=TrialState.RUNNING)
    decisions = []
    for step, value in enumerate([0.9, 0.5, 0.54, 0.57, 0.56, 0.6], start=1):
        theirs.report(sign * value, step)
        ours.intermediate_values[step] = sign * value
        decisions.append(should_prune(spec, "s", ours, []))
        assert decisions[-1].should_prune == theirs.should_prune(), step
    assert [decision.should_prune for decision in decisions] == [False, False, False, False, False, True]
    assert text(decisions[-1]) == (
        f"step 6: best value so far {sign * 0.5} has not improved by more than 0.05 in the last 3 evaluations"
    )


def test_none_never_prunes() -> None:
    spec = make_spec(pruner={"name": "none"})
    assert not should_prune(spec, "s", running(9, [1e9]), finished([[0.1]] * 9)).should_prune


def test_warm_up_protects_its_steps_counted_from_one() -> None:
    peers = finished([[0.1, 0.1, 0.1]] * 5)
    for n_warmup_steps in range(3):
        spec = make_spec(pruner={"name": "median", "options": {"n_warmup_steps": n_warmup_steps}})
        first = [step for step in (1, 2, 3) if should_prune(spec, "s", running(5, [1.0] * step), peers).should_prune]
        assert first[:1] == [n_warmup_steps + 1]


def test_startup_counts_all_complete_trials_and_only_those() -> None:
    spec = make_spec(pruner={"name": "median", "options": {"n_startup_trials": 3}})
    peers = finished([[0.1]] * 2)
    others = [make_trial(2, state=TrialState.PRUNED), make_trial(3, state=TrialState.FAIL)]
    assert not should_prune(spec, "s", running(9, [1.0]), [*peers, *others]).should_prune
    assert should_prune(spec, "s", running(9, [1.0]), finished([[0.1]] * 3)).should_prune


def test_shorter_schedules_are_not_compared_but_count_as_startup() -> None:
    spec = make_spec(pruner={"name": "median", "options": {"n_startup_trials": 3}})
    short = [with_epochs(trial, 2) for trial in finished([[0.1]] * 4)]
    own = with_epochs(running(9, [0.5]), 3)
    assert not should_prune(spec, "s", own, short).should_prune
    long = [with_epochs(trial, 3) for trial in finished([[0.4]], first=4)]
    assert should_prune(spec, "s", own, [*short, *long]).should_prune
    assert not should_prune(spec, "s", with_epochs(running(9, [0.35]), 3), [*short, *long]).should_prune


def test_halving_compares_schedules_at_least_as_long() -> None:
    spec = make_spec(pruner={"name": "successive-halving", "options": {"reduction_factor": 2}})
    rivals = [
        with_epochs(make_trial(n, system_attrs={"completed_rung_0": 0.1}), epochs) for n, epochs in enumerate([2, 5])
    ]
    assert not should_prune(spec, "s", with_epochs(running(2, [0.5]), 3), rivals[:1]).should_prune
    decision = should_prune(spec, "s", with_epochs(running(2, [0.5]), 3), rivals)
    assert decision.should_prune
    assert decision.system_attrs == {"completed_rung_0": 0.5}


def test_reasons_name_step_value_and_limit() -> None:
    peers = finished([[0.1], [0.2], [0.3], [0.4], [0.9]])
    median = make_spec(pruner={"name": "median"})
    assert text(should_prune(median, "s", running(9, [0.5]), peers)) == (
        "step 1: best value so far 0.5 is worse than 0.3, the median of 5 trials at this step"
    )
    percentile = make_spec(pruner={"name": "percentile", "options": {"percentile": 25.0}})
    assert text(should_prune(percentile, "s", running(9, [0.25]), peers)) == (
        "step 1: best value so far 0.25 is worse than 0.2, the limit of the best 25 % of 5 trials at this step"
    )
    accuracy = make_spec(
        pruner={"name": "percentile", "options": {"percentile": 25.0}}, objective={"metric": "accuracy"}
    )
    assert "worse than 0.4, the limit of the best 25 %" in text(should_prune(accuracy, "s", running(9, [0.3]), peers))
    halving = make_spec(pruner={"name": "successive-halving", "options": {"reduction_factor": 2}})
    rivals = [make_trial(n, system_attrs={"completed_rung_0": n / 10}) for n in range(4)]
    assert text(should_prune(halving, "s", running(9, [0.25]), rivals)) == (
        "step 1: best value so far 0.25; the value 0.25 ranks 4 of 5 at rung 0, where the best 2 of 5 go on"
    )
    threshold = make_spec(pruner={"name": "threshold", "options": {"upper": 3.0}})
    assert text(should_prune(threshold, "s", running(9, [1.0, 4.0]), [])) == (
        "step 2: best value so far 1; the value 4 lies above upper = 3"
    )


@pytest.mark.parametrize(
    ("pruner", "values"),
    [
        ({"name": "threshold", "options": {"upper": 3.0}}, [2.0]),
        ({"name": "patient", "options": {"patience": 1}}, [0.3, 0.2, 0.1]),
        ({"name": "successive-halving", "options": {"min_resource": 4}}, [0.1]),
        ({"name": "hyperband", "options": {"min_resource": 4}}, [0.1]),
        ({"name": "median", "options": {"n_startup_trials": 0}}, [0.1]),
        ({"name": "none"}, [0.1]),
    ],
)
def test_a_trial_that_goes_on_was_not_compared_one_by_one(pruner: dict[str, Any], values: list[float]) -> None:
    trials = finished([[0.5, 0.5, 0.5]] * 4)
    decision = should_prune(
        make_spec(pruner=pruner), "s", running(9, values), Unseen(trials), lambda: Curves().extended(trials)
    )
    assert not decision.should_prune


def test_nothing_given_is_changed() -> None:
    spec = make_spec(pruner={"name": "successive-halving"})
    own, peers = running(9, [0.5]), finished([[0.1]] * 3)
    before = repr((own, peers))
    assert should_prune(spec, "s", own, peers).system_attrs
    assert repr((own, peers)) == before


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 5),
        ({"training": {"evaluations_per_epoch": 2}}, 10),
        ({"search_space": {"epochs": {"type": "categorical", "choices": [2, 8, 4]}}}, 8),
        (
            {"search_space": {"dropout": {"type": "float", "low": 0.0, "high": 0.1}}, "fixed": {"epochs": 7}},
            7,
        ),
        ({"search_space": {"dropout": {"type": "float", "low": 0.0, "high": 0.1}}}, 3),
    ],
)
def test_longest_schedule(fields: dict[str, Any], expected: int) -> None:
    assert longest_schedule(make_spec(**fields)) == expected


def test_hyperband_with_room_for_no_bracket_has_one() -> None:
    spec: StudySpec = make_spec(pruner={"name": "hyperband", "options": {"min_resource": 50}})
    peers = [with_epochs(make_trial(n, system_attrs={"completed_rung_0": 0.1}), 5) for n in range(4)]
    assert should_prune(spec, "s", with_epochs(running(9, [0.5] * 5), 5), peers).should_prune


def running(number: int, values: list[float]) -> FrozenTrial:
    return make_trial(number, state=TrialState.RUNNING, intermediate_values=dict(enumerate(values, start=1)))


def finished(histories: list[list[float]], first: int = 0) -> list[FrozenTrial]:
    return [
        make_trial(number, intermediate_values=dict(enumerate(values, start=1)))
        for number, values in enumerate(histories, start=first)
    ]


def with_epochs(trial: FrozenTrial, epochs: int) -> FrozenTrial:
    trial.params = {"epochs": epochs}
    trial.distributions = {"epochs": optuna.distributions.IntDistribution(**_bounds())}
    return trial


def _bounds() -> dict[str, Any]:
    return {"low": SPACE["epochs"]["low"], "high": SPACE["epochs"]["high"]}


def ended(trial: FrozenTrial, state: TrialState, value: float) -> FrozenTrial:
    return make_trial(
        trial.number,
        state=state,
        value=value,
        intermediate_values=trial.intermediate_values,
        system_attrs=trial.system_attrs,
    )


def text(decision: Decision) -> str:
    assert decision.reason is not None
    return decision.reason.text
