from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from service.search.pruning.comparable import comparable_trials, is_comparable, n_schedules, schedule_of
from tests.service.search.builders import make_spec, make_trial

FULL, LORA = "epochs[method=full]", "epochs[method=lora]"
PARAMS: list[dict[str, Any]] = [{}, {"dropout": 0.1}, *({"epochs": n} for n in (1, 3, 5)), {"epochs": "long"}]
CONDITIONAL: list[dict[str, Any]] = [{}, *({key: n} for key in (FULL, LORA) for n in (1, 3, 5))]


def with_params(number: int, params: dict[str, Any]) -> FrozenTrial:
    return make_trial(
        number, params=params, distributions={key: CategoricalDistribution([v]) for key, v in params.items()}
    )


@pytest.mark.parametrize("params", [PARAMS[:-1], PARAMS[-1:], CONDITIONAL])
def test_a_trial_is_compared_with_all_that_are_comparable_and_no_others(params: list[dict[str, Any]]) -> None:
    trials = [with_params(number, one) for number, one in enumerate(params)]
    for trial in trials:
        mine = schedule_of(trial)
        expected = [one.number for one in trials if is_comparable(mine, schedule_of(one))]
        assert [one.number for one in comparable_trials(trial, trials)] == expected


def test_a_schedule_is_compared_with_those_of_as_many_epochs_or_more() -> None:
    assert [is_comparable(3, other) for other in (1, 2, 3, 4, None)] == [False, False, True, True, True]
    assert all(is_comparable(None, other) for other in (1, 4, None))


def test_the_schedule_is_what_epochs_are_searched_under_any_condition() -> None:
    shown = [schedule_of(with_params(0, params)) for params in (PARAMS[1], PARAMS[2], {FULL: 3}, PARAMS[-1])]
    assert shown == [None, 1, 3, None]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (None, 0),
        ({"type": "int", "low": 2, "high": 5}, 4),
        ({"type": "categorical", "choices": [1, 10]}, 2),
    ],
)
def test_schedules_are_counted(epochs: dict[str, Any] | None, expected: int) -> None:
    space = {"weight_decay": {"type": "float", "low": 0.0, "high": 0.3}} | (
        {} if epochs is None else {"epochs": epochs}
    )
    assert n_schedules(make_spec(search_space=space)) == expected
