from typing import Any

from optuna.trial import FrozenTrial, create_trial

from service.search.propose.nearest_trials import nearest_trials
from service.search.space.distributions import to_optuna
from spezia.contract.ranges import Choices, FloatRange
from tests.service.search.builders import make_spec

SPACE = {
    "learning_rate": FloatRange(type="float", low=1e-5, high=1e-3, log=True),
    "lr_schedule": Choices(type="categorical", choices=["linear", "cosine"]),
}


def make(number: int, rate: float, schedule: str) -> FrozenTrial:
    params: dict[str, Any] = {"learning_rate": rate, "lr_schedule": schedule}
    trial = create_trial(params=params, distributions=to_optuna(SPACE), value=0.5)
    trial.number = number
    return trial


def test_nearest_by_the_logarithm_of_a_rate_and_another_choice_is_far() -> None:
    trial = make(0, 1e-5, "linear")
    factor_two, other_choice, factor_thirty, twin = (
        make(1, 2e-5, "linear"),
        make(2, 1e-5, "cosine"),
        make(3, 3e-4, "linear"),
        make(4, 1e-5, "linear"),
    )
    found = nearest_trials(
        make_spec(search_space=SPACE), trial, [trial, factor_two, other_choice, factor_thirty, twin], 3
    )
    assert [one.number for one in found] == [4, 1, 3]
