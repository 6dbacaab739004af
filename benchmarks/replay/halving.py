"""Successive halving whose trials are paused and resumed, with random proposals or BOHB's densities.

Li et al. 2020, A system for massively parallel hyperparameter tuning (ASHA; here with its promotions capped at one of
eta of those that reached a rung, as paused trials make possible); Falkner et al. 2018, BOHB.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from replay.simulate import Answer, Work
from replay.task import Params
from unit_cube import share_at, value_at

RANDOM_SHARE = 1 / 3
GOOD_SHARE = 0.15
N_CANDIDATES = 64
BANDWIDTH_FACTOR = 3.0
MIN_BANDWIDTH = 1e-3
"""BOHB's own settings, as its authors' program has them."""


@dataclass
class _Trial:
    params: Params
    bracket: int
    rung: int = 0
    """The rung that it waits at or runs to, from 0."""
    values: dict[int, float] = field(default_factory=dict)
    """Its loss at each rung that it has reached."""
    waits: bool = False


class ResumingHalving:
    """Asynchronous successive halving over trials of one length."""

    def __init__(
        self,
        search_space: dict[str, dict[str, Any]],
        fixed: Params,
        *,
        longest: int,
        first_rung: int,
        eta: int,
        n_brackets: int,
        has_model: bool,
        first: Sequence[Params],
        seed: int,
    ) -> None:
        """
        Args:
            longest: evaluations of a whole trial.
            first_rung: evaluations at the lowest rung.
            n_brackets: brackets of Hyperband, of which each begins one rung higher than the one before.
            has_model: whether proposals are BOHB's; otherwise they are random.
            first: params of the trials to begin with.
        """
        self._space = {name: one for name, one in search_space.items() if name not in fixed}
        self._fixed = fixed
        self._eta = eta
        self._has_model = has_model
        self._first = list(first)
        self._draw = np.random.default_rng(seed)
        self._trials: list[_Trial] = []
        rungs = [first_rung]
        while rungs[-1] * eta < longest:
            rungs.append(rungs[-1] * eta)
        self._rungs = rungs
        # of a bracket that leaves out s rungs, Hyperband begins about eta^s times fewer trials
        levels = len(rungs) + 1
        weights = np.array([eta**-skipped * levels / (levels - skipped) for skipped in range(n_brackets)])
        self._bracket_shares = weights / weights.sum()

    def ask(self, worker: int, now: float) -> Work:
        del worker, now
        due = self._due()
        if due is not None:
            trial = self._trials[due]
            step = self._rungs[trial.rung]
            trial.waits = False
            trial.rung += 1
            return Work(due, trial.params, step)
        number = len(self._trials)
        params = self._first[number] if number < len(self._first) else self._propose()
        bracket = int(self._draw.choice(len(self._bracket_shares), p=self._bracket_shares))
        self._trials.append(_Trial(self._fixed | params, bracket, rung=bracket))
        return Work(number, self._fixed | params)

    def report(self, trial: Hashable, step: int, value: float, now: float, *, is_last: bool) -> Answer:
        del now
        assert isinstance(trial, int)
        own = self._trials[trial]
        if own.rung >= len(self._rungs) or step != self._rungs[own.rung]:
            if is_last:
                own.values[len(self._rungs)] = value
            return "go on"
        own.values[own.rung] = value
        own.waits = True
        if self._due() != trial:
            return "pause"
        own.waits = False
        own.rung += 1
        return "go on"

    def end(self, trial: Hashable, now: float, *, diverged: bool) -> None:
        del now
        assert isinstance(trial, int)
        if diverged:
            own = self._trials[trial]
            own.values[own.rung] = math.inf

    def _due(self) -> int | None:
        """Return the trial to be promoted: the best that waits at the highest rung that has promotions left."""
        for rung in reversed(range(len(self._rungs))):
            for bracket in range(len(self._bracket_shares)):
                peers = [one for one in self._trials if one.bracket == bracket and rung in one.values]
                n_promoted = sum(one.rung > rung for one in peers)
                waiting = [
                    n for n, one in enumerate(self._trials) if one.waits and (one.bracket, one.rung) == (bracket, rung)
                ]
                if waiting and n_promoted < len(peers) // self._eta:
                    return min(waiting, key=lambda n: self._trials[n].values[rung])
        return None

    def _propose(self) -> Params:
        model = self._model_rows()
        if model is None or self._draw.random() < RANDOM_SHARE:
            return self._params(self._draw.random(len(self._space)))
        good, bad = (_Density(rows, self._n_choices()) for rows in model)
        candidates = good.sample(self._draw, N_CANDIDATES)
        return self._params(max(candidates, key=lambda point: good.log_density(point) - bad.log_density(point)))

    def _model_rows(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return the good points and the bad ones, of the highest rung that has enough of them."""
        if not self._has_model:
            return None
        n_least = len(self._space) + 1
        for rung in reversed(range(len(self._rungs) + 1)):
            seen = sorted((one for one in self._trials if rung in one.values), key=lambda one: one.values[rung])
            if len(seen) < n_least + 2:
                continue
            n_good = max(n_least, int(GOOD_SHARE * len(seen)))
            n_bad = max(n_least, int((1 - GOOD_SHARE) * len(seen)))
            points = np.array([self._point(one.params) for one in seen])
            return points[:n_good], points[-n_bad:]
        return None

    def _n_choices(self) -> list[int]:
        return [len(one["choices"]) if one["type"] == "categorical" else 0 for one in self._space.values()]

    def _params(self, point: NDArray[np.float64]) -> Params:
        return {
            name: value_at(one, float(share)) for (name, one), share in zip(self._space.items(), point, strict=True)
        }

    def _point(self, params: Params) -> list[float]:
        return [share_at(one, params[name]) for name, one in self._space.items()]


class _Density:
    """A kernel density over the unit cube; a category is the middle of its share of an edge."""

    def __init__(self, points: NDArray[np.float64], n_choices: Sequence[int]) -> None:
        self._points = points
        self._n_choices = n_choices
        scott = len(points) ** (-1 / (len(n_choices) + 4))
        self._widths = np.maximum(points.std(axis=0) * scott, MIN_BANDWIDTH)

    def log_density(self, point: NDArray[np.float64]) -> float:
        kernels = np.ones(len(self._points))
        for axis, n in enumerate(self._n_choices):
            apart, width = np.abs(self._points[:, axis] - point[axis]), self._widths[axis]
            if n:
                change = min(float(width), (n - 1) / n)
                kernels *= np.where(apart < 0.5 / n, 1 - change, change / (n - 1))
            else:
                kernels *= np.exp(-0.5 * (apart / width) ** 2) / width
        return math.log(float(kernels.mean()) + 1e-300)

    def sample(self, draw: np.random.Generator, count: int) -> NDArray[np.float64]:
        points = self._points[draw.integers(len(self._points), size=count)].copy()
        for axis, n in enumerate(self._n_choices):
            if n:
                changes = draw.random(count) < min(float(self._widths[axis]), (n - 1) / n)
                points[changes, axis] = (draw.integers(n, size=int(changes.sum())) + 0.5) / n
            else:
                moved = points[:, axis] + draw.normal(size=count) * BANDWIDTH_FACTOR * self._widths[axis]
                points[:, axis] = np.clip(moved, 0.0, 1.0)
        return points
