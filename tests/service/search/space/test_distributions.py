from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import create_trial
from pydantic import TypeAdapter

from service.search.space.allowed import nearest
from service.search.space.distributions import to_optuna
from spezia.contract.ranges import Choices, Distribution, FloatRange, IntRange, value_problem

ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Distribution)


@st.composite
def float_ranges(draw: st.DrawFn) -> Distribution:
    if draw(st.booleans()):
        low = draw(st.floats(1e-12, 1.0))
        return ADAPTER.validate_python({"type": "float", "low": low, "high": draw(st.floats(low, 1e3)), "log": True})
    step = Decimal(draw(st.integers(1, 500))).scaleb(-3)
    low_steps, n_steps = draw(st.integers(-50, 50)), draw(st.integers(0, 40))
    return ADAPTER.validate_python(
        {
            "type": "float",
            "low": float(low_steps * step),
            "high": float((low_steps + n_steps) * step),
            "step": draw(st.sampled_from([float(step), None])) if n_steps else None,
        }
    )


@st.composite
def int_ranges(draw: st.DrawFn) -> Distribution:
    log = draw(st.booleans())
    low = draw(st.integers(1, 1000) if log else st.integers(-1000, 1000))
    step = 1 if log else draw(st.integers(1, 7))
    high = low + step * draw(st.integers(0, 100))
    return ADAPTER.validate_python({"type": "int", "low": low, "high": high, "log": log, "step": step})


choices = st.one_of(
    st.lists(st.integers(-9, 99), min_size=1, max_size=8, unique=True),
    st.lists(st.floats(0, 1), min_size=1, max_size=8, unique=True),
    st.lists(st.sampled_from(["linear", "cosine", "constant"]), min_size=1, max_size=3, unique=True),
).map(lambda values: ADAPTER.validate_python({"type": "categorical", "choices": values}))
distributions = st.one_of(float_ranges(), int_ranges(), choices)


@given(distributions)
def test_round_trip_is_the_identity(distribution: Distribution) -> None:
    (converted,) = to_optuna({"x": distribution}).values()
    assert contract_form(converted) == distribution
    assert json_to_distribution(distribution_to_json(converted)) == converted


@given(distributions, st.floats(-2e3, 2e3))
def test_nearest_is_allowed_and_keeps_what_is_allowed(distribution: Distribution, value: float) -> None:
    found = nearest(distribution, value)
    assert value_problem(distribution, found) is None
    assert nearest(distribution, found) == found
    (converted,) = to_optuna({"x": distribution}).values()
    create_trial(params={"x": found}, distributions={"x": converted}, value=0.0)  # Optuna checks that it is inside


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        ({"type": "float", "low": 1e-5, "high": 1e-3, "log": True}, 1e-9, 1e-5),
        ({"type": "float", "low": 0.0, "high": 0.4, "step": 0.1}, 0.16, 0.2),
        ({"type": "int", "low": 2, "high": 8, "step": 3}, 3, 2),
        ({"type": "int", "low": 2, "high": 8, "step": 3}, 4, 5),
        ({"type": "int", "low": 1, "high": 9, "log": True}, 1.45, 2),
        ({"type": "int", "low": 1, "high": 9, "log": True}, 1.4, 1),
        ({"type": "categorical", "choices": [8, 32]}, 16, 8),
        ({"type": "categorical", "choices": [64, 16]}, 16, 16),
        ({"type": "categorical", "choices": ["cosine", "constant"]}, "linear", "cosine"),
    ],
)
def test_nearest(distribution: object, value: float | str, expected: float | str) -> None:
    assert nearest(ADAPTER.validate_python(distribution), value) == pytest.approx(expected)


def contract_form(distribution: BaseDistribution) -> Distribution:
    """The range of the contract that Optuna's distribution was made of."""
    if isinstance(distribution, FloatDistribution):
        low, high, log, step = distribution.low, distribution.high, distribution.log, distribution.step
        return FloatRange(type="float", low=low, high=high, log=log, step=step)
    if isinstance(distribution, IntDistribution):
        return IntRange(
            type="int",
            low=distribution.low,
            high=distribution.high,
            log=distribution.log,
            step=distribution.step,
        )
    assert isinstance(distribution, CategoricalDistribution), distribution
    return Choices.model_validate({"type": "categorical", "choices": list(distribution.choices)})
