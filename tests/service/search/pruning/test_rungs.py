"""The pruner `rungs`: where its rungs stand, and which paused trials go on."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState

from service.rung_marks import PARTIAL, PAUSED, PROMOTED, REACHED
from service.search.propose.propose import ProposalRequest, propose
from service.search.pruning.rungs import (
    MIN_RANKED_ROWS,
    Ranks,
    RungCounts,
    partial_steps,
    promotions,
    rung_steps,
    steps_to_evaluate,
    with_rungs_decided,
)
from spezia.contract.facts import Facts
from spezia.contract.pruners import MAX_FIRST
from spezia.contract.step_times import KindTimes, StepTimes
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import SPACE, make_facts, make_spec, make_trial

SINCE = "2026-11-22T12:00:00.000000+00:00"
EPOCHS = {"epochs": IntDistribution(1, 5)}
FIXED_EPOCHS = {name: one for name, one in SPACE.items() if name != "epochs"}


def rungs(
    *, eta: int = 2, first: int | None = 1, top: int = 1, validation_share: float | None = None, **fields: Any
) -> StudySpec:
    left_open = {"first": first, "validation_share": validation_share}
    options = {"eta": eta, "top": top} | {name: one for name, one in left_open.items() if one is not None}
    return make_spec(pruner={"name": "rungs", "options": options}, **{"search_space": FIXED_EPOCHS} | fields)


def reaching(number: int, *values: float, promoted: int = 0, state: TrialState, **fields: Any) -> FrozenTrial:
    """A trial that has had ``values`` at its rungs."""
    reached = {str(rung): [value, SINCE] for rung, value in enumerate(values)}
    steps = {2**rung: value for rung, value in enumerate(values)}
    attrs = {REACHED: reached, PROMOTED: promoted}
    return make_trial(number, state=state, system_attrs=attrs, intermediate_values=steps, **fields)


def paused(number: int, *values: float, **fields: Any) -> FrozenTrial:
    """A trial that is paused at its last rung, promoted from all below."""
    rung = len(values) - 1
    mark = {PAUSED: {"rung": rung, "step": 2**rung, "attempt": 1, "since": SINCE}}
    return reaching(number, *values, promoted=rung, state=TrialState.WAITING, user_attrs=mark, **fields)


def going_on(spec: StudySpec, unfinished: Sequence[FrozenTrial], *, all_arrived: bool = False) -> list[int]:
    return [one.number for one in promotions(spec, RungCounts(), unfinished, all_arrived=all_arrived)]


def test_rungs_stand_at_growing_steps_before_the_last() -> None:
    spec = rungs(eta=4, fixed={"epochs": 3}, training={"evaluations_per_epoch": 16})
    assert rung_steps(spec, {"epochs": 3}) == [1, 4, 16]
    assert rung_steps(spec, {"epochs": 1}) == [1, 4]
    assert rung_steps(make_spec(), {"epochs": 3}) == []
    assert steps_to_evaluate(spec, {"epochs": 3}, make_facts()) == [1, 4, 16, 32, 48]
    assert steps_to_evaluate(make_spec(), {"epochs": 3}, make_facts()) is None


def timed(*kinds: dict[str, Any]) -> Facts:
    """Facts of a study of which these kinds of trials were timed."""
    rest = {"method": "full", "frozen_blocks": 0, "gradient_checkpointing": False, "batch_size": 16}
    times = [KindTimes.model_validate(rest | kind) for kind in kinds]
    step_times = StepTimes(device="a CPU", kinds=times, load_seconds=1.0, peak_memory_bytes=0)
    return make_facts().model_copy(update={"step_times": step_times})


@pytest.mark.parametrize(
    ("evaluation_seconds", "steps"),
    [
        (0.5, [1, 4, 16, *range(16, 160, 16)]),  # 13 of them take 6.5 of 100 s
        (1.0, [1, 4, 16, 32, 64, 96, 128]),  # 10 may be made: 3 at rungs, and the end of every second epoch
        (3.0, [1, 4, 16]),
    ],
)
def test_evaluations_take_a_tenth_of_the_training_at_most(evaluation_seconds: float, steps: list[int]) -> None:
    spec = rungs(eta=4, fixed={"epochs": 10}, training={"evaluations_per_epoch": 16})
    facts = timed({"epoch_seconds": 10.0, "evaluation_seconds": evaluation_seconds}, {"epoch_seconds": None})
    found = steps_to_evaluate(spec, {"epochs": 10}, facts)
    assert found == sorted({*steps, 64, 160})  # 64 is a rung, too


@pytest.mark.parametrize(
    ("kinds", "first"),
    [
        ([{"epoch_seconds": 100.0, "start_seconds": 0.5, "pause_seconds": 0.5}], 4),  # a fiftieth of 200
        ([{"epoch_seconds": 10.0, "start_seconds": 0.5, "pause_seconds": 0.5}], 25),  # half an epoch
        # one kind with another: those that are hardly worth a pause are hardly worth a thought either
        ([{"epoch_seconds": 9.0, "start_seconds": 0.5}, {"epoch_seconds": 1.0, "start_seconds": 0.5}], 25),
        ([{"epoch_seconds": None, "start_seconds": 5.0}], 4),
        ([{"epoch_seconds": 1e-300, "start_seconds": 1e9}], MAX_FIRST),  # what a faulty worker says
    ],
)
def test_the_first_rung_is_worth_a_pause(kinds: list[dict[str, Any]], first: int) -> None:
    fixed = {"epochs": 4, "warmup_ratio": 0.0, "batch_size": 1}
    space = {"learning_rate": SPACE["learning_rate"]}
    spec = rungs(first=None, search_space=space, fixed=fixed, training={"evaluations_per_epoch": 50})
    assert with_rungs_decided(spec, timed(*kinds)).pruner.options.model_dump()["first"] == first


@pytest.mark.parametrize(
    ("fixed", "per_epoch", "first"),
    [
        ({"epochs": 4, "warmup_ratio": 0.0, "batch_size": 1}, 50, 4),  # a fiftieth of 200
        ({"epochs": 4, "warmup_ratio": 0.06, "batch_size": 1}, 50, 12),  # its warm-up
        ({"epochs": 4, "warmup_ratio": 0.0, "batch_size": 50}, 1, 4),  # 8 optimizer steps, 2 an epoch
        ({"epochs": 1_000, "warmup_ratio": 0.5, "batch_size": 50}, 1_000, 500_000),  # the longest of all
    ],
    ids=["share", "warm-up", "optimizer steps", "longest"],
)
def test_the_first_rung_is_where_values_say_something(fixed: dict[str, Any], per_epoch: int, first: int) -> None:
    space = {"learning_rate": SPACE["learning_rate"]}
    spec = rungs(first=None, search_space=space, fixed=fixed, training={"evaluations_per_epoch": per_epoch})
    decided = with_rungs_decided(spec, make_facts())
    changed = {"first": first, "validation_share": 1.0}
    assert decided.pruner.options == spec.pruner.options.model_copy(update=changed)
    assert with_rungs_decided(decided, make_facts()) is decided
    assert StudySpec.model_validate(decided.model_dump()) == decided


def test_trials_read_more_rows_at_each_rung_and_all_where_they_evaluate_in_any_case() -> None:
    spec = rungs(eta=4, fixed={"epochs": 3}, training={"evaluations_per_epoch": 16}, validation_share=0.1)
    assert partial_steps(spec, {"epochs": 3}, make_facts()) == {1: 0.1, 4: 0.4}  # 16 is the end of an epoch
    assert partial_steps(rungs(eta=4, validation_share=0.1), {"epochs": 2}, make_facts()) == {}
    assert partial_steps(rungs(eta=4), {"epochs": 3}, make_facts()) == {}
    assert partial_steps(make_spec(), {"epochs": 3}, make_facts()) == {}


@given(
    epoch_seconds=st.floats(0.1, 1e4),
    evaluation_seconds=st.floats(0.0, 1e3),
    validation_rows=st.integers(1, 10**6),
    eta=st.integers(2, 5),
    first=st.integers(1, 8),
    per_epoch=st.integers(1, 24),
    epochs=st.integers(1, 12),
)
def test_a_rung_reads_rows_for_a_tenth_of_the_training_up_to_it_and_enough_to_rank_by(
    epoch_seconds: float,
    evaluation_seconds: float,
    validation_rows: int,
    eta: int,
    first: int,
    per_epoch: int,
    epochs: int,
) -> None:
    timing = {"epoch_seconds": epoch_seconds, "evaluation_seconds": evaluation_seconds}
    facts = timed(timing).model_copy(update={"validation_rows": validation_rows})
    training = {"evaluations_per_epoch": per_epoch}
    spec = with_rungs_decided(rungs(eta=eta, first=first, fixed={"epochs": epochs}, training=training), facts)
    shares = partial_steps(spec, {"epochs": epochs}, facts)
    assert shares == partial_steps(StudySpec.model_validate(spec.model_dump()), {"epochs": epochs}, facts)
    steps, evaluated = rung_steps(spec, {"epochs": epochs}), steps_to_evaluate(spec, {"epochs": epochs}, facts)
    assert evaluated is not None
    assert shares.keys() <= set(steps) - {evaluated[-1]}
    assert list(shares.values()) == sorted(shares.values())
    first_share = spec.pruner.options.model_dump()["validation_share"]
    is_just_enough = first_share * validation_rows < 1.01 * min(validation_rows, MIN_RANKED_ROWS)
    for step in steps:
        share, training_seconds = shares.get(step, 1.0), step / per_epoch * epoch_seconds
        assert share == 1.0 or share * validation_rows > 0.99 * MIN_RANKED_ROWS
        if step in shares or step % per_epoch:
            assert is_just_enough or share * evaluation_seconds < 0.101 * training_seconds


def test_values_of_a_part_are_ranked_at_their_rung_and_seen_by_samplers() -> None:
    def partial(number: int, value: float) -> FrozenTrial:
        trial = paused(number, value)
        trial.system_attrs[PARTIAL] = {"1": value}
        trial.intermediate_values = {}
        return trial

    waiting = [partial(0, 0.5), partial(1, 0.2), partial(2, 0.4), partial(3, 0.6)]
    assert going_on(rungs(), waiting) == [1, 2]
    for sampler in (
        {"name": "tpe", "options": {"n_startup_trials": 2}},
        {"name": "multi-fidelity", "options": {"n_startup_trials": 2, "random_share": 0.0}},
    ):
        spec = rungs(sampler=sampler)
        asked = [
            propose(ProposalRequest(spec=spec, study_name="toy", number=4, trials=trials))
            for trials in (waiting, [paused(one.number, one.system_attrs[REACHED]["0"][0]) for one in waiting])
        ]
        assert asked[0] == asked[1]


def test_the_best_that_waits_goes_on_as_long_as_its_share_lasts() -> None:
    spec = rungs()
    assert going_on(spec, [paused(0, 0.5)]) == []
    assert going_on(spec, [paused(0, 0.5), paused(1, 0.4)]) == [1]
    once = reaching(1, 0.4, promoted=1, state=TrialState.RUNNING)
    assert going_on(spec, [paused(0, 0.5), once, paused(2, 0.1)]) == []
    assert going_on(spec, [paused(0, 0.5), once, paused(2, 0.1), paused(3, 0.3)]) == [2]
    assert going_on(rungs(objective={"metric": "accuracy"}), [paused(0, 0.5), paused(1, 0.4)]) == [0]


def test_the_highest_rung_comes_first() -> None:
    assert going_on(rungs(), [paused(0, 0.1), paused(1, 0.2), paused(2, 0.9, 0.8), paused(3, 0.9, 0.7)]) == [3]
    waiting = [paused(number, 0.1 * number) for number in range(6)]
    assert going_on(rungs(), [*waiting, paused(6, 0.9, 0.8), paused(7, 0.9, 0.7)]) == [7, 0, 1]


def test_trials_that_have_ended_keep_their_share() -> None:
    ended = [reaching(number, 0.1, promoted=1, state=TrialState.FAIL) for number in (0, 1)]
    waiting = [paused(2, 0.5), paused(3, 0.4)]
    found = promotions(rungs(), RungCounts().extended(ended), waiting, all_arrived=False)
    assert found == []


def test_trials_of_other_epochs_are_not_compared() -> None:
    spec = rungs(search_space=SPACE)
    long, short = ({"params": {"epochs": n}, "distributions": EPOCHS} for n in (5, 2))
    unfinished = [paused(0, 0.5, **long), paused(1, 0.1, **short), paused(2, 0.4, **long), paused(3, 0.3, **short)]
    assert going_on(spec, unfinished) == [1, 2]
    assert going_on(spec, unfinished[:2]) == []


def test_when_all_have_arrived_the_best_go_on_until_enough_are_complete() -> None:
    waiting = [paused(0, 0.5), paused(1, 0.4, 0.3), paused(2, 0.1)]
    promoted = [reaching(3, 0.1, promoted=1, state=TrialState.RUNNING)]
    spec = rungs(top=2, eta=4)
    assert going_on(spec, [*waiting, *promoted]) == []
    assert going_on(spec, waiting, all_arrived=True) == [1, 2]
    assert going_on(spec, [*waiting, *promoted], all_arrived=True) == [1]
    complete = RungCounts().extended([reaching(4, 0.1, promoted=1, state=TrialState.COMPLETE)] * 2)
    assert promotions(spec, complete, waiting, all_arrived=True) == []


def arriving(number: int, value: float, minute: int) -> FrozenTrial:
    """A trial that is paused at the first rung since a minute past twelve."""
    trial = paused(number, value)
    trial.system_attrs[REACHED]["0"][1] = minutes_past(minute)
    return trial


def minutes_past(minute: int) -> str:
    return SINCE.replace(":00:", f":{minute:02}:", 1)


def test_when_all_have_arrived_a_promotion_is_due_since_the_last_has_come_to_its_first_rung() -> None:
    waiting = [paused(0, 0.5, 0.4), paused(1, 0.6), arriving(2, 0.9, minute=7)]
    [due] = promotions(rungs(eta=4), RungCounts(), waiting, all_arrived=True)
    assert (due.number, due.due_since) == (0, minutes_past(7))  # its own rung was last reached before


def test_a_worker_that_skips_a_rung_leaves_its_trial_where_it_has_come() -> None:
    skipping = paused(0, 0.5, 0.4)
    del skipping.system_attrs[REACHED]["0"]
    [due] = promotions(rungs(), RungCounts(), [skipping], all_arrived=True)
    assert (due.number, due.due_since) == (0, SINCE)
    # its rung is the second, so it takes no share of the first
    assert going_on(rungs(), [skipping, paused(1, 0.6), paused(2, 0.7)]) == [1]


def test_a_later_arrival_does_not_renew_since_when_a_promotion_is_due() -> None:
    values = (0.1, 0.9, 0.8, 0.7, 0.6)  # the first is the best, and the second to come raises the cap for it
    came = [arriving(number, value, minute=number) for number, value in enumerate(values)]

    def due(*waiting: FrozenTrial) -> list[tuple[int, str]]:
        found = promotions(rungs(eta=2), RungCounts(), waiting, all_arrived=False)
        return [(one.number, one.due_since) for one in found]

    assert due(*came[:2]) == due(*came[:3]) == [(0, minutes_past(1))]
    assert due(*came[:4]) == [(0, minutes_past(1)), (3, minutes_past(3))]
    assert due(*came) == [(0, minutes_past(1)), (4, minutes_past(4))]  # a better one takes the place that was free
    gone = reaching(0, 0.1, promoted=1, state=TrialState.RUNNING)
    assert due(gone, *came[1:4]) == [(3, minutes_past(3))]


def test_equal_trials_go_on_by_the_seed_whatever_their_order() -> None:
    equal = [paused(number, 0.5) for number in range(8)]
    orders = {tuple(going_on(rungs(seed=seed), equal)) for seed in range(20)}
    assert len(orders) > 10
    assert going_on(rungs(), equal[::-1]) == going_on(rungs(), equal)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=40), eta=st.integers(2, 5), n_finished=st.integers(0, 40))
def test_the_cap_holds_whatever_came_and_counts_do_not_mind_how_they_were_added(
    values: list[float], eta: int, n_finished: int
) -> None:
    spec = rungs(eta=eta)
    all_of = [
        reaching(number, value, promoted=number % 2, state=TrialState.FAIL)
        if number < n_finished
        else paused(number, value)
        for number, value in enumerate(values)
    ]
    finished, unfinished = all_of[:n_finished], all_of[n_finished:]
    counts = RungCounts().extended(finished[::2]).extended(finished[1::2])
    assert vars(counts) == vars(RungCounts().extended(finished))
    found = promotions(spec, counts, unfinished, all_arrived=False)
    n_promoted = sum(number % 2 for number in range(len(finished)))
    assert len(found) == min(len(unfinished), max(0, len(values) // eta - n_promoted))
    best = sorted(values[number] for number in range(len(finished), len(values)))[: len(found)]
    assert sorted(values[one.number] for one in found) == best


def test_a_trial_that_ends_at_its_rung_says_its_rank() -> None:
    trials = [paused(0, 0.5), paused(1, 0.4), reaching(2, 0.1, promoted=1, state=TrialState.COMPLETE)]
    reason = Ranks(rungs(), trials).reason_to_end(trials[0], "no more")
    assert (reason.value, reason.rank, reason.rung) == (0.5, 3, 0)
    assert reason.text == "paused at step 1: the value 0.5 ranks 3 of 3 at rung 0; no more"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_samplers_see_a_paused_trial_as_pruned_at_its_last_value(sampler: str) -> None:
    spec = rungs(sampler={"name": sampler, "options": {}}, seed=3)
    first = propose(ProposalRequest(spec=spec, study_name="toy", number=0, trials=[]))
    assert first is not None
    drawn = {"params": first.params, "distributions": first.distributions}
    waiting = [paused(number, 0.1 * number, 0.2, **drawn) for number in range(12)]
    pruned = [
        make_trial(one.number, state=TrialState.PRUNED, value=0.2, intermediate_values=one.intermediate_values, **drawn)
        for one in waiting
    ]
    asked = [ProposalRequest(spec=spec, study_name="toy", number=12, trials=some) for some in (waiting, pruned, [])]
    seen, known, blind = map(propose, asked)
    assert seen == known
    assert (seen != blind) == (sampler == "tpe")
