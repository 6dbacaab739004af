"""What a study will take, from the seconds of a few steps."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.search.quote.quote_study import MARGIN, quote_study
from service.search.quote.trial_cost import TrialCosts
from service.search.space.params import to_keys
from spezia.contract.facts import Facts
from spezia.contract.quote import Quote
from spezia.contract.step_times import KindTimes, StepTimes
from tests.service.search.builders import make_facts, make_spec

RATE = {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}}


def kind(batch_size: int, epoch_seconds: float | None, frozen_blocks: int = 0, **changes: Any) -> KindTimes:
    fields: dict[str, Any] = {"method": "full", "gradient_checkpointing": False, "evaluation_seconds": 1.0}
    fields |= {"start_seconds": 2.0} | changes
    return KindTimes(batch_size=batch_size, epoch_seconds=epoch_seconds, frozen_blocks=frozen_blocks, **fields)


def facts_of(*kinds: KindTimes, **changes: Any) -> Facts:
    """A model of six blocks, and 100 training rows."""
    times = StepTimes(device="a device", kinds=list(kinds), load_seconds=3.0, peak_memory_bytes=10**9)
    return make_facts().model_copy(update={"step_times": times} | changes)


NONE = {"name": "none"}


def quote(facts: Facts, n_workers: int = 1, probe_seconds: float | None = None, **changes: Any) -> Quote:
    fields = {"search_space": RATE, "fixed": {"epochs": 2, "batch_size": 10}, "n_trials": 8, "pruner": NONE} | changes
    found = quote_study(
        make_spec(**fields),
        facts,
        n_workers=n_workers,
        prepare_seconds=5.0,
        probe_seconds=probe_seconds,
        elapsed_seconds=7.0,
    )
    assert found is not None
    return found


TRIAL = 2.0 + 2 * (10.0 + 1.0)
"""Seconds of a trial of two epochs: to start, and for each epoch 10 to train and 1 to evaluate."""


def test_trials_that_are_all_alike_take_their_number_times_as_long() -> None:
    found = quote(facts_of(kind(10, 10.0)))
    assert found.device_seconds.expected == pytest.approx(5 + 8 * TRIAL)
    assert found.device_seconds.low == pytest.approx(5 + 8 * TRIAL / MARGIN)
    assert found.device_seconds.high == pytest.approx(5 + 8 * TRIAL * MARGIN)
    assert found.wall_seconds.expected == pytest.approx(7 + 8 * TRIAL)
    assert (found.n_trials, found.n_workers, found.peak_memory_bytes) == (8, 1, 10**9)


def test_workers_share_the_trials_and_each_loads_the_model() -> None:
    found = quote(facts_of(kind(10, 10.0)), n_workers=3)
    assert found.device_seconds.expected == pytest.approx(5 + 8 * TRIAL + 2 * 3.0)
    assert found.wall_seconds.expected == pytest.approx(7 + 3 + 3 * TRIAL)  # 3, 3 and 2 trials
    assert quote(facts_of(kind(10, 10.0)), n_workers=3, n_parallel=1).wall_seconds.expected == pytest.approx(
        7 + 8 * TRIAL
    )
    assert quote(facts_of(kind(10, 10.0)), n_workers=0).n_workers == 1


def test_a_probe_that_is_over_is_counted_as_long_as_it_took() -> None:
    facts = facts_of(kind(10, 10.0), awaits_similarity=True)
    alone, two = (quote(facts, n_workers=n, probe_seconds=30.0) for n in (1, 2))
    assert alone.device_seconds.expected == pytest.approx(5 + 30 + 8 * TRIAL)
    assert alone.wall_seconds.expected == pytest.approx(7 + 30 + 8 * TRIAL)
    assert two.wall_seconds.expected == pytest.approx(7 + 3 + 5 * TRIAL)  # one trains five while the other one probes


def test_epochs_and_batches_lie_where_the_space_draws_them() -> None:
    facts = facts_of(kind(5, 20.0), kind(20, 5.0))
    space = RATE | {"epochs": {"type": "int", "low": 1, "high": 3}}
    found = quote(facts, search_space=space, fixed={"batch_size": 20}, n_trials=400, baseline=False)
    assert found.device_seconds.expected == pytest.approx(5 + 400 * (2 + 2 * 6), rel=0.05)
    # 10 steps an epoch lie a third of the way from 5 steps to 20
    assert quote(facts).device_seconds.expected == pytest.approx(5 + 8 * (2 + 2 * 11))


def test_a_grid_is_quoted_as_large_as_it_is() -> None:
    space = {"weight_decay": {"type": "categorical", "choices": [0.0, 0.1, 0.2]}}
    assert quote(facts_of(kind(10, 10.0)), search_space=space, sampler={"name": "grid"}).n_trials == 3
    assert quote(facts_of(kind(10, 10.0)), search_space=space, sampler={"name": "tpe"}).n_trials == 8


def test_what_a_study_begins_with_is_quoted_as_it_is() -> None:
    space = RATE | {"epochs": {"type": "int", "low": 1, "high": 100}}
    enqueue = [{"epochs": 50}, {"epochs": 7}]
    found = quote(facts_of(kind(10, 10.0)), search_space=space, fixed={"batch_size": 10}, enqueue=enqueue, n_trials=3)
    assert found.device_seconds.expected == pytest.approx(5 + 3 * 2 + (3 + 50 + 7) * 11)  # the baseline has 3 epochs


def test_each_depth_fills_the_cache_once() -> None:
    deep = kind(10, 4.0, frozen_blocks=6, fill_seconds=60.0)
    found = quote(facts_of(kind(10, 10.0), deep), fixed={"epochs": 2, "batch_size": 10, "frozen_layers": 3})
    assert found.device_seconds.expected == pytest.approx(5 + 8 * (2 + 2 * (7 + 1)) + 30)


@pytest.mark.parametrize(
    ("pruner", "n_whole", "n_evaluations"),
    [
        ({"name": "none"}, 8, 1),
        ({"name": "median", "options": {"n_startup_trials": 5, "n_warmup_steps": 2}}, 5, 3),
        ({"name": "median", "options": {"n_startup_trials": 0, "n_warmup_steps": 0}}, 1, 1),
        ({"name": "successive-halving", "options": {"min_resource": 2}}, 1, 2),
        ({"name": "median", "options": {"n_warmup_steps": 100}}, 8, 1),
    ],
    ids=["none", "warm-up", "median", "halving", "never"],
)
def test_the_least_is_where_all_end_that_may_be_pruned(pruner: Any, n_whole: int, n_evaluations: int) -> None:
    training = {"early_stopping_patience": None}
    found = quote(facts_of(kind(10, 10.0)), pruner=pruner, fixed={"epochs": 5, "batch_size": 10}, training=training)
    least = n_whole * (2 + 5 * 11) + (8 - n_whole) * (2 + n_evaluations * 11)
    assert found.device_seconds.low == pytest.approx(5 + least / MARGIN)
    assert found.device_seconds.expected == pytest.approx(5 + 8 * (2 + 5 * 11))


def test_under_rungs_a_trial_is_evaluated_at_rungs_and_after_each_epoch() -> None:
    rungs = {"name": "rungs", "options": {"first": 2, "eta": 2}}
    training = {"early_stopping_patience": None, "evaluations_per_epoch": 4}
    fixed = {"epochs": 4, "batch_size": 10}
    timed = kind(10, 10.0, evaluation_seconds=0.5, pause_seconds=0.25)
    found = quote(facts_of(timed), pruner=rungs, training=training, fixed=fixed, n_trials=1)
    assert found.device_seconds.expected == pytest.approx(5 + (2 + 4 * 10 + 5 * 0.5))  # at steps 2, 4, 8, 12 and 16


def test_under_rungs_only_so_many_trials_go_on_as_the_study_lets() -> None:
    rungs = {"name": "rungs", "options": {"first": 1, "eta": 4, "top": 1}}
    training = {"early_stopping_patience": None}
    fixed = {"epochs": 16, "batch_size": 10}
    timed = kind(10, 10.0, pause_seconds=0.5)
    found = quote(facts_of(timed), pruner=rungs, training=training, fixed=fixed, n_trials=33)
    whole, again = 2 + 16 * 10 + 9, 2 + 0.5  # evaluated at step 1, and after every second epoch
    # 32 beside the baseline pause at step 1, 8 of them go on to step 4, and 2 of those to the end
    trials = whole + 24 * (2 + 10 + 1) + 6 * (2 + 4 * 10 + 3 + again) + 2 * (whole + 2 * again)
    assert found.device_seconds.expected == pytest.approx(5 + trials)
    assert found.device_seconds.low == pytest.approx(5 + trials / MARGIN)


def test_under_rungs_the_least_of_a_trial_is_its_first_rung_wherever_the_study_puts_it() -> None:
    training = {"early_stopping_patience": 1, "evaluations_per_epoch": 10}
    fixed = {"epochs": 5, "batch_size": 10, "warmup_ratio": 0.1}
    found = quote(facts_of(kind(10, 10.0)), pruner={"name": "rungs"}, training=training, fixed=fixed, n_trials=8)
    first = 10  # of 50 steps: an epoch lasts 5 times as long as a trial takes to begin
    # four come to their end, by their patience of one epoch a step behind the first rung: the baseline, and three that
    # have paused there
    least = 4 * (2 + 11 / 10 * 10 + 1) + 3 * 2 + 4 * (2 + first / 10 * 10 + 1)
    assert found.device_seconds.low == pytest.approx(5 + least / MARGIN)


@pytest.mark.parametrize("as_in_tables", [True, False])
def test_what_a_study_begins_with_counts_where_ranges_have_conditions(as_in_tables: bool) -> None:
    epochs = [{"type": "int", "low": 1, "high": 100, "when": {"method": method}} for method in ("full", "head_only")]
    space = {"method": {"type": "categorical", "choices": ["full", "head_only"]}, "epochs": epochs}
    spec = make_spec(search_space=space, fixed={"batch_size": 10}, n_trials=2, pruner=NONE, baseline=False)
    begins_with = [{"method": "full", "epochs": 90}, {"method": "head_only", "epochs": 3}]
    if as_in_tables:
        begins_with = [to_keys(spec, one) for one in begins_with]
    found = quote_study(spec, facts_of(kind(10, 10.0)), n_workers=1, begins_with=begins_with)
    assert found is not None
    assert found.device_seconds.expected == pytest.approx(2 * 2 + 93 * 11)


def test_early_stopping_counts_for_the_least_too() -> None:
    training = {"early_stopping_patience": 1, "evaluations_per_epoch": 2}
    found = quote(facts_of(kind(10, 10.0)), training=training, fixed={"epochs": 5, "batch_size": 10})
    assert found.device_seconds.low == pytest.approx(5 + 8 * (2 + 2 * (5 + 1)) / MARGIN)
    assert found.device_seconds.expected == pytest.approx(5 + 8 * (2 + 10 * (5 + 1)))


def test_pilots_and_the_test_split_count() -> None:
    found = quote(facts_of(kind(10, 10.0), test_rows=40), start_small={"fraction": 0.1, "trials": 3})
    assert found.device_seconds.expected == pytest.approx(5 + 8 * TRIAL + 3 * (2 + 2 * (1 + 1)) + 2 + 40 / 20)


def test_runs_that_confirm_the_winner_count() -> None:
    found = quote(facts_of(kind(10, 10.0)), confirm={"top": 3, "seeds": 2}, baseline=True)
    assert found.device_seconds.expected == pytest.approx(5 + (8 + 4 * 2) * TRIAL)
    assert found.wall_seconds.expected == pytest.approx(7 + (8 + 4 * 2) * TRIAL)


def test_measuring_the_similarity_counts() -> None:
    found = quote(facts_of(kind(10, 10.0), awaits_similarity=True))
    assert found.device_seconds.expected == pytest.approx(5 + 8 * TRIAL + (100 + 20) / 20)


def test_a_budget_ends_a_study_earlier() -> None:
    found = quote(facts_of(kind(10, 10.0)), device_seconds=50.0)
    assert (found.device_seconds.expected, found.wall_seconds.expected) == pytest.approx((55, 57))
    assert quote(facts_of(kind(10, 10.0)), timeout_seconds=30.0).wall_seconds.expected == pytest.approx(7 + 30)


def test_what_does_not_fit_is_named_and_takes_nothing() -> None:
    space = RATE | {"method": {"type": "categorical", "choices": ["full", "head_only"]}}
    kinds = [kind(10, None, size) for size in (0, 0)] + [kind(10, 1.0, 6, method="head_only")]
    found = quote(facts_of(*kinds), search_space=space, n_trials=40)
    assert found.will_not_fit == [{"method": "full", "frozen_layers": 0, "gradient_checkpointing": False}]
    assert found.device_seconds.high < 5 + 40 * (2 + 2 * 2)
    costs = TrialCosts(facts_of(*kinds), kinds)
    assert costs.of({"method": "full"}).seconds(3, 1) == 0.0


def test_a_kind_that_was_not_timed_is_like_the_dearest() -> None:
    kinds = [kind(10, 10.0), kind(10, 7.0, method="lora", gradient_checkpointing=True)]
    costs = TrialCosts(facts_of(*kinds), kinds)
    assert costs.of({"method": "head_only"}).epoch == 10.0
    assert costs.of({"method": "lora"}).epoch == 7.0
    assert costs.of({"frozen_fraction": 0.5}).epoch == 10.0


def test_nothing_is_said_where_nothing_was_timed() -> None:
    assert quote_study(make_spec(), make_facts(), n_workers=1) is None
    assert quote_study(make_spec(), facts_of(), n_workers=1) is None


@settings(max_examples=30)
@given(
    n_trials=st.integers(1, 3_000),
    n_workers=st.integers(1, 40),
    epochs=st.integers(1, 9),
    low=st.floats(0.1, 50),
    high=st.floats(0.1, 50),
)
def test_what_is_expected_lies_between_the_least_and_the_most(
    n_trials: int, n_workers: int, epochs: int, low: float, high: float
) -> None:
    space = RATE | {"epochs": {"type": "int", "low": 1, "high": epochs}}
    found = quote(
        facts_of(kind(5, low), kind(20, high)),
        n_workers,
        search_space=space,
        fixed={"batch_size": 10},
        pruner={"name": "median"},
        n_trials=n_trials,
    )
    for one in (found.device_seconds, found.wall_seconds):
        assert 0 < one.low <= one.expected * (1 + 1e-9)
        assert one.expected <= one.high * (1 + 1e-9)
    assert found.wall_seconds.expected - 7 <= found.device_seconds.expected - 5 + 1e-6
    assert found.device_seconds.expected - 5 <= found.n_workers * (found.wall_seconds.expected - 7) + 1e-6
