"""The verdict of runs under fresh seeds: which trial wins, and whether it is better than the baseline.

S = seeds, R = rows or groups of rows.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.search.results.confirmed_gain import Gain, confirmed_gain
from service.search.results.ranking import first_value
from service.store.confirm_runs import Run, RunRow
from service.store.trials import FrozenTrial
from spezia.contract.confirm import Confirmation, ConfirmRun
from spezia.contract.study_spec import StudySpec

Array = NDArray[np.float64]

_LARGE = 1e5
"""Uncertainty from which on numbers are written with an exponent, as squared errors of large labels have it."""


def verdict(spec: StudySpec, best: Sequence[FrozenTrial], baseline: int, ended: Mapping[Run, RunRow]) -> Confirmation:
    """Return what all runs of a study together have found.

    The best of ``best`` by the mean of its runs wins. One that has failed under a seed cannot: whoever trains with its
    params might meet that seed.

    Args:
        best: the best trials of the search, in their order.
        baseline: number of the baseline.
        ended: every run, by trial and seed.
    """
    scores, sign = _scores(ended), spec.objectives[0].sign
    able = [trial for trial in best if trial.number in scores.of_trial_SR]
    found: dict[str, Any] = {"verdict": "no_significant_gain"}
    notes = [_failed(number, ended) for number, seed in ended if not seed and number not in scores.of_trial_SR]
    if baseline in scores.of_trial_SR:
        found["baseline_value"] = scores.mean(baseline)
    if not able:
        notes.insert(0, "none of the best trials came through under every seed: keep the defaults")
        return _complete(best, ended, found, notes)
    winner = min(able, key=lambda trial: sign * scores.mean(trial.number))  # of equals the first
    if winner is not best[0]:
        notes.insert(0, f"in the search, trial {best[0].number} was the best")
    searched, confirmed = first_value(winner), scores.mean(winner.number)
    assert searched is not None
    found |= {
        "winner": winner.number,
        "searched_value": searched,
        "confirmed_value": confirmed,
        "optimism": sign * (confirmed - searched),
    }
    if winner.number == baseline:
        notes.insert(0, "no significant gain: keep the defaults; the baseline is the best under fresh seeds")
    elif baseline not in scores.of_trial_SR:
        found["verdict"] = None
        notes.insert(0, "no gain can be claimed: the baseline did not come through under every seed")
    else:
        n_others = sum(trial.number != baseline for trial in able)
        of_both = scores.of_trial_SR[baseline], scores.of_trial_SR[winner.number]
        gain = confirmed_gain(*of_both, sign=sign, n_choices=n_others)
        found |= {"gain": gain.value, "interval": (gain.low, gain.high), "resampled": scores.resampled}
        if gain.low > 0:
            found["verdict"] = "better"
        notes.insert(0, _claim(spec, winner.number, gain))
        if scores.resampled == "seeds":
            notes.append("the interval tells how seeds differ, and not how validation rows do")
    return _complete(best, ended, found, notes)


def shown_runs(ended: Mapping[Run, RunRow]) -> list[ConfirmRun]:
    """Return runs as people see them."""
    return [
        ConfirmRun(
            number=number,
            seed=seed,
            value=row.value,
            failure=None if row.failure is None else f"{row.failure.failure_class}: {row.failure.message}",
        )
        for (number, seed), row in ended.items()
    ]


def _complete(
    best: Sequence[FrozenTrial], ended: Mapping[Run, RunRow], found: dict[str, Any], notes: list[str]
) -> Confirmation:
    return Confirmation(
        state="complete",
        sentence="; ".join(notes),
        runs=shown_runs(ended),
        n_runs=len(ended),
        searched_winner=best[0].number,
        **found,
    )


@dataclass(frozen=True)
class _Scores:
    """Scores of the trials that came through under every seed."""

    of_trial_SR: dict[int, Array]
    resampled: Literal["rows and seeds", "seeds"]
    """What an interval may draw again."""

    def mean(self, number: int) -> float:
        return float(self.of_trial_SR[number].mean())


def _scores(ended: Mapping[Run, RunRow]) -> _Scores:
    rows = defaultdict(list)
    for (number, _), row in ended.items():
        rows[number].append(row)
    through = {number: own for number, own in rows.items() if all(row.value is not None for row in own)}
    lengths = {row.row_scores and len(row.row_scores) for own in through.values() for row in own}
    has_rows = len(lengths) == 1 and None not in lengths
    scores = {number: np.array([_scores_of(row, has_rows=has_rows) for row in own]) for number, own in through.items()}
    return _Scores(scores, "rows and seeds" if has_rows else "seeds")


def _scores_of(row: RunRow, *, has_rows: bool) -> Array:
    """Return the scores of a run on each row, whose mean is its value to the last digit; or that value alone."""
    assert row.value is not None
    if not has_rows:
        return np.array([row.value])
    scores_R = np.array(row.row_scores)
    shifted_R: Array = scores_R + (row.value - scores_R.mean())
    return shifted_R


def _failed(number: int, ended: Mapping[Run, RunRow]) -> str:
    own = [row for (of, _), row in ended.items() if of == number]
    classes = sorted({row.failure.failure_class for row in own if row.failure is not None})
    n_failed = sum(row.value is None for row in own)
    return f"trial {number} failed under {n_failed} of {len(own)} seeds ({', '.join(classes)})"


def _claim(spec: StudySpec, winner: int, gain: Gain) -> str:
    assert spec.confirm is not None
    half_width = gain.high - gain.value
    of_what = f"{spec.metric}, 95 %, {spec.confirm.seeds} fresh seeds each"
    if gain.low > 0:
        return f"trial {winner} is better than the baseline by {_figure(gain.value, half_width)} ({of_what})"
    if gain.value == 0:  # as where the metric counts the hits among a few rows
        way = "as good as the baseline"
    else:
        way = f"{'better' if gain.value > 0 else 'worse'} than the baseline by {_figure(abs(gain.value), half_width)}"
    return f"no significant gain: keep the defaults; trial {winner} is {way} ({of_what})"


def _figure(value: float, half_width: float) -> str:
    """Write a value and what is uncertain about it, with two digits of that."""
    if half_width <= 0:
        return f"{value:.4g}"
    if half_width >= _LARGE:
        return f"{value:.4g} ± {half_width:.2g}"
    digits = max(0, 1 - math.floor(math.log10(half_width)))
    return f"{value:.{digits}f} ± {half_width:.{digits}f}"
