"""The gain of one configuration over another, by runs of both under fresh seeds, with an interval of 95 %.

A paired bootstrap (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 12) gives the standard
error: validation rows are drawn again for both configurations alike, as both were scored on the same, and the seeds of
each are drawn again by themselves. Drawing n seeds again shows only (n - 1) / n of their variance, so what a seed
deviates from the mean of its row is first made larger by the root of n / (n - 1) (Rao and Wu 1988).

The interval is as wide as Student's t makes it, since three seeds say little of how much seeds differ; its degrees of
freedom are by Welch and Satterthwaite, of rows and of both configurations' seeds. Where the configuration was chosen as
the best of several by the same runs, the error is shared out among them (Bonferroni), which keeps the claim "better"
honest whichever of them is chosen.

S = seeds, R = rows or groups of rows, B = bootstrap samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spezia.common.lazy_module import LazyModule

scipy_special = LazyModule("scipy.special")

Array = NDArray[np.float64]

CONFIDENCE = 0.95
_N_SAMPLES = 1_000
"""Bootstrap samples, by which the standard error is known to about 2 %."""
_AT_ONCE = 2**20
"""Number of rows that are drawn at once, in all samples together."""


@dataclass(frozen=True)
class Gain:
    """By how much a configuration is better, and how sure that is."""

    value: float
    """In the metric's own unit; above 0 it is better."""
    low: float
    high: float
    """Ends of the interval of 95 %."""


def confirmed_gain(baseline_SR: Array, chosen_SR: Array, *, sign: int, n_choices: int) -> Gain:
    """Return the gain of a chosen configuration over the baseline.

    Args:
        baseline_SR: scores of the baseline on each row under each seed, two seeds or more; one column where only the
            whole score is known.
        chosen_SR: scores of the chosen configuration on the same rows, under as many seeds or others.
        sign: 1 where lower scores are better, else -1.
        n_choices: number of configurations of which it was chosen by these scores.
    """
    n_rows = baseline_SR.shape[1]
    value = sign * float(baseline_SR.mean() - chosen_SR.mean())
    variance = _bootstrap_variance(baseline_SR, chosen_SR)
    of_seeds = [float(scores_SR.mean(axis=1).var(ddof=1)) / len(scores_SR) for scores_SR in (baseline_SR, chosen_SR)]
    parts = [
        (of_seeds[0], len(baseline_SR) - 1),
        (of_seeds[1], len(chosen_SR) - 1),
        (max(0.0, variance - sum(of_seeds)), n_rows - 1),
    ]
    half_width = np.sqrt(variance) * _t_quantile(parts, 1 - (1 - CONFIDENCE) / 2 / n_choices)
    return Gain(value, value - float(half_width), value + float(half_width))


def _bootstrap_variance(*configurations: Array) -> float:
    """Return the variance of the difference between two configurations' mean scores."""
    chance = np.random.default_rng(0)  # the same runs, the same interval
    n_rows = configurations[0].shape[1]
    widened = [_widened(scores_SR) for scores_SR in configurations]
    differences: list[Array] = []
    n_left = _N_SAMPLES
    while n_left:
        n_samples = min(n_left, max(1, _AT_ONCE // n_rows))
        n_left -= n_samples
        counts_BR = _drawn_counts(chance, n_samples, n_rows)
        means = []
        for scores_SR in widened:
            n_seeds = len(scores_SR)
            of_seed_BS = counts_BR @ scores_SR.T / n_rows
            means.append((of_seed_BS * _drawn_counts(chance, n_samples, n_seeds)).sum(axis=1) / n_seeds)
        differences.append(means[0] - means[1])
    return float(np.concatenate(differences).var())


def _widened(scores_SR: Array) -> Array:
    mean_R = scores_SR.mean(axis=0)
    n_seeds = len(scores_SR)
    widened: Array = mean_R + (scores_SR - mean_R) * np.sqrt(n_seeds / (n_seeds - 1))
    return widened


def _drawn_counts(chance: np.random.Generator, n_samples: int, n_items: int) -> Array:
    """Return how often each item is among as many drawn with replacement, ``[B, n_items]``."""
    drawn = chance.integers(n_items, size=(n_samples, n_items)) + n_items * np.arange(n_samples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_samples * n_items).reshape(n_samples, n_items).astype(np.float64)


def _t_quantile(parts: Sequence[tuple[float, int]], probability: float) -> float:
    """Return a quantile of Student's t whose degrees of freedom follow from parts of a variance, each with its own."""
    counted = [(variance, freedom) for variance, freedom in parts if variance > 0 and freedom > 0]
    if not counted:
        return 0.0  # nothing varies at all
    total = sum(variance for variance, _ in counted)
    # by shares, as the square of a large variance is no number any more
    freedom = 1 / sum((variance / total) ** 2 / freedom for variance, freedom in counted)
    return float(scipy_special.stdtrit(freedom, probability))
