"""The trials with which a study begins are those of earlier studies that together are best, inside its own space."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from service.rung_marks import PARTIAL
from service.search.space.params import plain_params, to_keys
from service.search.warm_start.portfolio import N_BEST, PastStudy, Taken, portfolio
from spezia.contract.study_spec import Params, StudySpec, params_errors
from tests.service.search.builders import SPACE, History, make_facts, make_spec, make_trial

RATE = {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}
DECAY = {"type": "float", "low": 0.0, "high": 0.3}
CONDITIONAL: dict[str, Any] = {
    "method": {"type": "categorical", "choices": ["full", "lora"]},
    "learning_rate": [
        {"type": "float", "low": 1e-6, "high": 1e-4, "log": True, "when": {"method": "full"}},
        {"type": "float", "low": 1e-5, "high": 1e-3, "log": True, "when": {"method": "lora"}},
    ],
    "lora_rank": {"type": "int", "low": 4, "high": 64, "when": {"method": "lora"}},
}


def past(name: str, tried: list[Params], values: list[float], *, likeness: float = 1.0, **fields: Any) -> PastStudy:
    """A study whose trials had these params and came to these values."""
    spec = make_spec(**fields)
    history = History(spec)
    trials = []
    for number, (params, value) in enumerate(zip(tried, values, strict=True)):
        proposal = history.propose(params)
        assert proposal is not None
        trials.append(make_trial(number, value=value, params=proposal.params, distributions=proposal.distributions))
    return PastStudy(name=name, spec=spec, facts=make_facts(), likeness=likeness, trials=trials)


def along_the_rate(name: str, best_rate: float, *, likeness: float = 1.0) -> PastStudy:
    """A study of one parameter, whose loss is the distance of its logarithm to that of the best."""
    exponents = [-6 + 0.25 * step for step in range(13)]
    values = [abs(exponent - best_rate) for exponent in exponents]
    space = {"learning_rate": RATE}
    tried: list[Params] = [{"learning_rate": min(1e-3, 10**exponent)} for exponent in exponents]
    return past(name, tried, values, likeness=likeness, search_space=space)


def exponents_of(taken: list[Taken]) -> list[tuple[str, int]]:
    return [(one.source.study, one.source.number) for one in taken]


def test_of_one_study_its_best_trial_is_taken() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    (taken,) = portfolio(spec, [along_the_rate("a", -4.0)], 4)
    assert (taken.source.study, taken.source.number) == ("a", 8)
    assert taken.params == {"learning_rate": pytest.approx(1e-4)}


def test_of_two_studies_that_differ_each_gives_its_best() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    studies = [along_the_rate("low", -5.5), along_the_rate("high", -3.0)]
    taken = portfolio(spec, studies, 2)
    # the first is good in both, the second mends what is left
    low, high = taken if exponents_of(taken)[0][0] == "low" else reversed(taken)
    assert low.params["learning_rate"] < 1e-4 < high.params["learning_rate"]  # type: ignore[operator]


def test_what_is_good_in_all_studies_comes_before_what_is_best_in_one() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    studies = [along_the_rate("low", -5.0), along_the_rate("middle", -4.5), along_the_rate("high", -4.0)]
    (first,) = portfolio(spec, studies, 1)
    assert first.params["learning_rate"] == pytest.approx(10**-4.5, rel=0.01)


def test_a_study_that_is_more_alike_counts_more() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    for low, high, is_low in ((1.0, 0.01, True), (0.01, 1.0, False)):
        studies = [along_the_rate("low", -5.5, likeness=low), along_the_rate("high", -3.5, likeness=high)]
        (first,) = portfolio(spec, studies, 1)
        assert (first.params["learning_rate"] < 10**-4.5) == is_low  # type: ignore[operator]


def test_no_more_are_taken_than_help() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    assert len(portfolio(spec, [along_the_rate("a", -4.0), along_the_rate("b", -4.0)], 4)) == 1
    assert portfolio(spec, [along_the_rate("a", -4.0)], 0) == []
    assert portfolio(spec, [], 4) == []


def test_in_its_own_study_a_trial_is_worth_what_it_came_to() -> None:
    # one of four trials with the same params is the best by chance; the process would take the steady ones
    tried: list[Params] = [{"learning_rate": rate} for rate in (1e-6, 1e-3) for _ in range(4)]
    study = past("a", tried, [0.0, 1.0, 1.1, 1.2, 0.3, 0.31, 0.32, 0.33], search_space={"learning_rate": RATE})
    (taken,) = portfolio(make_spec(search_space={"learning_rate": RATE}), [study], 1)
    assert taken.source.number == 0


@pytest.mark.parametrize("is_partial", [False, True], ids=["all rows", "a part of the rows"])
def test_trials_that_ended_early_say_where_not_to_begin(is_partial: bool) -> None:
    space = {"learning_rate": RATE}
    spec = make_spec(search_space=space)
    tie = past("tie", [{"learning_rate": 1e-3}, {"learning_rate": 1e-6}], [0.1, 0.1], search_space=space)
    (blind,) = portfolio(spec, [tie], 1)
    assert blind.params == {"learning_rate": 1e-3}
    # of all rates of another study only the one in the middle was carried out, and the high ones looked bad early
    rates = [1e-6, 2e-6, 4e-6, 3e-5, 3e-4, 6e-4, 1e-3]
    other = past("other", [{"learning_rate": rate} for rate in rates], [0.5] * 7, search_space=space)
    for trial, rate in zip(other.trials, rates, strict=True):
        value = 0.3 if rate < 1e-5 else 0.5 if rate < 1e-4 else 0.9
        if is_partial:
            trial.system_attrs = {PARTIAL: {"1": value}}
        else:
            trial.intermediate_values = {1: value}
        if rate != 3e-5:
            trial.state = TrialState.PRUNED
    (first,) = portfolio(spec, [tie, other], 1)
    assert first.params == {"learning_rate": 1e-6}


def test_a_name_that_a_study_did_not_have_is_not_taken_for_one_that_it_had() -> None:
    def by_schedule(name: str, good: str) -> PastStudy:
        space = {"learning_rate": RATE, "lr_schedule": {"type": "categorical", "choices": [good, "cosine"]}}
        tried: list[Params] = [
            {"learning_rate": rate, "lr_schedule": schedule}
            for rate in (1e-5, 3e-5, 1e-4, 3e-4)
            for schedule in (good, "cosine")
        ]
        return past(name, tried, [0.1 if one["lr_schedule"] == good else 1.0 for one in tried], search_space=space)

    studies = [by_schedule("a", "linear"), by_schedule("b", "constant")]
    choices = ["linear", "cosine", "constant"]
    spec = make_spec(search_space={"learning_rate": RATE, "lr_schedule": {"type": "categorical", "choices": choices}})
    # what is best in one was never tried in the other
    assert {one.source.study for one in portfolio(spec, studies, 4)} == {"a", "b"}


def test_what_the_study_runs_anyway_is_not_taken() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    study = along_the_rate("a", -4.0)
    known = [to_keys(spec, plain_params(study.trials[8].params))]
    (taken,) = portfolio(spec, [study], 4, known)
    assert taken.source.number in (7, 9)


def test_values_go_by_their_direction() -> None:
    space = {"learning_rate": RATE}
    objective = {"metric": "accuracy"}
    study = past(
        "a",
        [{"learning_rate": 1e-5}, {"learning_rate": 1e-4}],
        [0.7, 0.9],
        search_space=space,
        objective=objective,
    )
    (taken,) = portfolio(make_spec(search_space=space, objective=objective), [study], 4)
    assert taken.source.number == 1


def test_params_that_the_study_does_not_search_are_dropped_and_fixed_ones_hold() -> None:
    study = past("a", [{"epochs": 5, "learning_rate": 1e-4, "batch_size": 8}], [0.1])
    spec = make_spec(search_space={"learning_rate": RATE}, fixed={"epochs": 2})
    (taken,) = portfolio(spec, [study], 4)
    assert taken.params == {"learning_rate": 1e-4}


def test_what_a_trial_had_by_default_or_by_its_study_is_tried() -> None:
    study = past("a", [{"learning_rate": 1e-4}], [0.1], search_space={"learning_rate": RATE}, fixed={"epochs": 4})
    (taken,) = portfolio(make_spec(), [study], 4)
    assert (taken.params["epochs"], taken.params["weight_decay"]) == (4, 0.01)


@pytest.mark.parametrize(
    ("entry", "ran"),
    [
        ({"learning_rate": {**RATE, "high": 1e-5}}, {"learning_rate": 1e-4}),
        ({"batch_size": {"type": "categorical", "choices": [16, 32]}}, {"batch_size": 8}),
        ({"epochs": {"type": "int", "low": 1, "high": 5, "step": 2}}, {"epochs": 2}),
        ({"lr_schedule": {"type": "categorical", "choices": ["linear", "constant"]}}, {"lr_schedule": "cosine"}),
    ],
    ids=["above a range", "no choice", "between steps", "no name"],
)
def test_a_trial_outside_the_space_is_left_out(entry: dict[str, Any], ran: Params) -> None:
    study = past("a", [ran], [0.1])
    assert portfolio(make_spec(search_space=SPACE | entry), [study], 4) == []


def test_a_trial_of_another_method_is_left_out() -> None:
    study = past("a", [{"method": "lora", "learning_rate": 5e-5, "lora_rank": 8}], [0.1], search_space=CONDITIONAL)
    assert portfolio(make_spec(search_space={"learning_rate": RATE}), [study], 4) == []
    (taken,) = portfolio(make_spec(search_space=CONDITIONAL), [study], 4)
    assert taken.params == {"method": "lora", "learning_rate": 5e-5, "lora_rank": 8}
    only_lora = {"learning_rate": RATE, "lora_rank": {"type": "int", "low": 4, "high": 64}}
    (taken,) = portfolio(make_spec(search_space=only_lora, fixed={"method": "lora"}), [study], 4)
    assert taken.params == {"learning_rate": 5e-5, "lora_rank": 8}


def test_frozen_blocks_are_told_by_either_name() -> None:
    layers = {"learning_rate": RATE, "frozen_layers": {"type": "int", "low": 0, "high": 6}}
    share = {"learning_rate": RATE, "frozen_fraction": {"type": "float", "low": 0.0, "high": 1.0}}
    by_layers = past("a", [{"learning_rate": 1e-4, "frozen_layers": 3}], [0.1], search_space=layers)
    by_share = past("a", [{"learning_rate": 1e-4, "frozen_fraction": 0.5}], [0.1], search_space=share)
    assert portfolio(make_spec(search_space=share), [by_layers], 4)[0].params["frozen_fraction"] == 0.5
    assert portfolio(make_spec(search_space=layers), [by_share], 4)[0].params["frozen_layers"] == 3


def test_trials_with_ranges_of_another_program_teach_nothing() -> None:
    study = past("a", [{"learning_rate": 1e-4}, {"learning_rate": 1e-5}], [0.1, 0.2])
    other = past("b", [{"learning_rate": 1e-4}], [0.1], search_space=SPACE | {"learning_rate": {**RATE, "high": 1.0}})
    study.trials[0].params, study.trials[0].distributions = other.trials[0].params, other.trials[0].distributions
    assert exponents_of(portfolio(make_spec(), [study], 4)) == [("a", 1)]


def test_a_study_without_a_finite_value_teaches_nothing() -> None:
    study = past("a", [{"learning_rate": 1e-4}], [float("inf")])
    assert portfolio(make_spec(), [study], 4) == []


def test_only_the_best_of_each_study_are_candidates() -> None:
    spec = make_spec(search_space={"learning_rate": RATE})
    study = along_the_rate("a", -4.0)
    known = [to_keys(spec, plain_params(one.trials[number].params)) for one in [study] for number in range(13)]
    worst = sorted(range(13), key=lambda number: abs(-6 + 0.25 * number + 4))[N_BEST:]
    left = [params for number, params in enumerate(known) if number not in worst]
    assert portfolio(spec, [study], 4, left) == []


VALUES = st.floats(-1e6, 1e6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), VALUES, VALUES, VALUES), min_size=1, max_size=3), st.integers(0, 5), st.data())
def test_whatever_is_taken_lies_in_the_space_once_and_the_same_each_time(
    drawn: list[tuple[bool, float, float, float]], count: int, data: st.DataObject
) -> None:
    spaces: list[dict[str, Any]] = [SPACE, CONDITIONAL, {"learning_rate": RATE, "weight_decay": DECAY}]
    studies = []
    for place, (is_conditional, *values) in enumerate(drawn):
        space = CONDITIONAL if is_conditional else SPACE
        studies.append(past(f"s{place}", [{}] * len(values), values, search_space=space, seed=place))
    spec: StudySpec = make_spec(search_space=data.draw(st.sampled_from(spaces)))
    taken = portfolio(spec, studies, count)
    assert len(taken) <= count
    assert all(not params_errors(spec, one.params) for one in taken)
    assert all(to_keys(spec, one.params) for one in taken)
    assert len({repr(one.params) for one in taken}) == len(taken)
    assert portfolio(spec, studies, count) == taken
