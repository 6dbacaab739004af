"""What is claimed of runs under fresh seeds, and what is not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.lifecycle.confirmation.verdict import verdict
from service.store.confirm_runs import Run, RunRow
from spezia.contract.confirm import Confirmation
from spezia.contract.failure import Failure
from tests.service.search.builders import make_spec, make_trial

SPREAD = (-0.01, 0.0, 0.01)
"""By how much the values of one trial differ between fresh seeds."""
DIVERGED = RunRow(value=None, row_scores=None, failure=Failure(failure_class="diverged", message="it broke"))


def of(values: Mapping[int, float], rows: Sequence[float] | None = None) -> dict[Run, RunRow]:
    """Runs of trials around a value each, the baseline's being trial 0."""
    return {
        (number, seed): RunRow(
            value=value + SPREAD[seed],
            row_scores=None if rows is None else [value + row for row in rows],
            failure=None,
        )
        for seed in range(3)
        for number, value in values.items()
    }


def judge(ended: Mapping[Run, RunRow], best: Sequence[tuple[int, float]], **changes: Any) -> Confirmation:
    """The verdict on trials that the search found best, each with its value there."""
    trials = [make_trial(number, value=value) for number, value in best]
    return verdict(make_spec(confirm={"top": 2}, **changes), trials, 0, ended)


def test_a_gain_beyond_chance_is_claimed() -> None:
    found = judge(of({1: 0.5, 2: 0.6, 0: 0.9}), [(1, 0.4), (2, 0.45)])
    assert (found.state, found.verdict, found.winner) == ("complete", "better", 1)
    assert (found.confirmed_value, found.baseline_value) == (pytest.approx(0.5), pytest.approx(0.9))
    assert (found.searched_value, found.optimism) == (0.4, pytest.approx(0.1))
    assert found.interval is not None
    assert found.gain == pytest.approx(0.4)
    assert 0.35 < found.interval[0] < found.interval[1] < 0.45
    assert found.sentence.startswith("trial 1 is better than the baseline by 0.400 ± 0.0")
    assert "(validation_loss, 95 %, 3 fresh seeds each)" in found.sentence
    assert len(found.runs) == found.n_runs == 9


def test_the_winner_may_change_and_the_sentence_says_so() -> None:
    found = judge(of({1: 0.7, 2: 0.5, 0: 0.9}), [(1, 0.4), (2, 0.45)])
    assert (found.winner, found.searched_winner, found.searched_value) == (2, 1, 0.45)
    assert "in the search, trial 1 was the best" in found.sentence


def test_a_gain_that_chance_explains_is_not_claimed() -> None:
    found = judge(of({1: 0.5, 2: 0.52, 0: 0.505}), [(1, 0.4), (2, 0.45)])
    assert (found.verdict, found.winner) == ("no_significant_gain", 1)
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]
    start = "no significant gain: keep the defaults; trial 1 is better than the baseline by "
    assert found.sentence.startswith(start)


def test_defaults_that_are_better_under_fresh_seeds_are_kept() -> None:
    found = judge(of({1: 0.5, 2: 0.6, 0: 0.3}), [(1, 0.4), (2, 0.45)])
    assert (found.verdict, found.winner, found.gain) == ("no_significant_gain", 1, pytest.approx(-0.2))
    assert "trial 1 is worse than the baseline by 0.20" in found.sentence


def test_a_baseline_among_the_best_may_win() -> None:
    found = judge(of({0: 0.3, 1: 0.5}), [(0, 0.4), (1, 0.5)])
    assert (found.verdict, found.winner, found.gain) == ("no_significant_gain", 0, None)
    assert "the baseline is the best under fresh seeds" in found.sentence


def test_of_a_metric_that_grows_the_larger_is_the_better() -> None:
    found = judge(of({1: 0.7, 0: 0.5}), [(1, 0.8)], objective={"metric": "accuracy"})
    assert (found.verdict, found.gain, found.optimism) == ("better", pytest.approx(0.2), pytest.approx(0.1))


def test_rows_are_drawn_again_where_all_runs_tell_them() -> None:
    spread_out = [-0.4, -0.2, 0.0, 0.2, 0.4]
    found = judge(of({1: 0.5, 0: 0.9}, spread_out), [(1, 0.4)])
    assert (found.resampled, found.gain) == ("rows and seeds", pytest.approx(0.4))
    assert "validation rows do" not in found.sentence
    other = of({1: 0.5}, spread_out) | of({0: 0.9}, spread_out[::-1])
    paired, unpaired = found.interval, judge(other, [(1, 0.4)]).interval
    assert paired is not None
    assert unpaired is not None
    assert unpaired[1] - unpaired[0] > 3 * (paired[1] - paired[0])  # what rows have in common says nothing


def test_rows_that_some_runs_do_not_tell_are_left_out() -> None:
    some = of({1: 0.5, 0: 0.9}, [-0.1, 0.1]) | {(0, 2): RunRow(value=0.9, row_scores=[0.9], failure=None)}
    found = judge(some, [(1, 0.4)])
    assert found.resampled == "seeds"
    assert found.sentence.endswith("the interval tells how seeds differ, and not how validation rows do")


def test_a_trial_that_fails_under_a_fresh_seed_cannot_win() -> None:
    found = judge(of({1: 0.4, 2: 0.5, 0: 0.9}) | {(1, 1): DIVERGED}, [(1, 0.3), (2, 0.45)])
    assert (found.state, found.winner, found.verdict) == ("complete", 2, "better")
    assert "trial 1 failed under 1 of 3 seeds (diverged)" in found.sentence
    assert [run.failure for run in found.runs if run.value is None] == ["diverged: it broke"]


def test_nothing_is_claimed_beside_a_baseline_that_fails() -> None:
    found = judge(of({1: 0.4, 0: 0.9}) | {(0, 0): DIVERGED}, [(1, 0.3)])
    assert (found.winner, found.verdict, found.gain, found.baseline_value) == (1, None, None, None)
    assert "the baseline did not come through" in found.sentence


def test_none_that_comes_through_leaves_the_defaults() -> None:
    found = judge(of({1: 0.4, 0: 0.9}) | {(1, 0): DIVERGED}, [(1, 0.3)])
    assert (found.winner, found.verdict, found.baseline_value) == (None, "no_significant_gain", pytest.approx(0.9))
    assert "keep the defaults" in found.sentence


def test_values_that_never_differ_need_no_interval() -> None:
    same = {run: RunRow(value=0.9 - 0.4 * run[0], row_scores=None, failure=None) for run in of({1: 0.0, 0: 0.0})}
    found = judge(same, [(1, 0.5)])
    assert (found.verdict, found.interval) == ("better", (pytest.approx(0.4), pytest.approx(0.4)))
    assert found.sentence.startswith("trial 1 is better than the baseline by 0.4 (")


def test_a_trial_that_is_no_better_is_called_as_good() -> None:
    same = {run: RunRow(value=0.9, row_scores=None, failure=None) for run in of({1: 0.0, 0: 0.0})}
    found = judge(same, [(1, 0.5)])
    assert (found.verdict, found.gain) == ("no_significant_gain", 0)
    assert found.sentence.startswith("no significant gain: keep the defaults; trial 1 is as good as the baseline (")


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6, 1e38, 1e150])
@pytest.mark.parametrize("rows", [None, [-0.03, 0.0, 0.03]], ids=["seeds", "rows"])
def test_a_verdict_does_not_mind_the_unit_of_the_metric(scale: float, rows: list[float] | None) -> None:
    ended = {
        run: replace(
            row,
            value=scale * (row.value or 0.0),
            row_scores=None if row.row_scores is None else [scale * one for one in row.row_scores],
        )
        for run, row in of({1: 0.5, 0: 0.9}, rows).items()
    }
    found, usual = judge(ended, [(1, 0.4)]), judge(of({1: 0.5, 0: 0.9}, rows), [(1, 0.4)])
    assert found.interval is not None
    assert usual.interval is not None
    assert found.interval == pytest.approx(tuple(scale * end for end in usual.interval))
    assert len(found.sentence) < 200
