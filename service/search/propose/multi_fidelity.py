"""The sampler `multi-fidelity`: a Gaussian process over configurations and rungs, of which early values teach too.

Its rows are the values of all trials at all rungs. Of a rung they become normal scores, so that neither the scale of a
loss nor an outlier counts. Since only the best go on, the scores of a higher rung are put where their trials stood at
the rung below. The kernel is Matern 5/2 over the params, with a length for each, times rho to the power of the distance
in rungs (Swersky et al. 2013 have such products). A parameter that a trial does not have is as far from one that it has
as the ends of a range; so is one choice from another.

A third of the trials is drawn at random, and the others are of the largest expected improvement at the last rung, among
random points and neighbours of the best. What runs is believed to come out as predicted. The algorithm and its
constants come from simulations on recorded learning curves (docs/decisions/0030-a-sampler-over-rungs.md).

N = rows, M = other rows, D = parameters, L = lengths, one for each parameter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from service.search.pruning.pruners import longest_schedule
from service.search.pruning.rungs import FIRST_SHARE, rung_steps
from service.search.seeds import trial_seed
from service.search.space.allowed import largest
from service.search.space.distributions import to_optuna
from service.search.space.params import to_keys
from spezia.contract.hyperparameters import ParamValue, param_value
from spezia.contract.pruners import RungsPruner
from spezia.contract.samplers import MultiFidelitySampler
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec

Array = NDArray[np.float64]

MAX_ROWS = 220
"""Number of rows that the process is fitted to: those of the highest rungs, then the newest."""
TUNED_ROWS = 100
"""Number of rows by which lengths, rho and noise are chosen, at most."""
BLOCK = 1_000
"""Number of points that are predicted at a time, so that a study of many trials takes little memory."""
N_RANDOM, N_NEAR, N_BEST = 300, 200, 6
"""Candidates that are drawn at random, and near how many of the best predicted trials."""
ETA = 4
"""Factor from one rung to the next under a pruner that has none."""
STEP = 0.15
"""Standard deviation of a neighbour's parameter, as a share of its range."""

_NORMAL = NormalDist()
_CUT = _NORMAL.inv_cdf(0.8)
"""Score that the worst fifth has: how bad it is teaches nothing."""


def next_point(spec: StudySpec, number: int, trials: Sequence[FrozenTrial], fixed: Params) -> Params:
    """Return the params of trial ``number`` by `Dimension.key`: the same ones for the same arguments.

    Args:
        trials: All other trials, in any order; those that have not begun teach nothing.
        fixed: Params that the trial must have, by their plain names.
    """
    assert isinstance(spec.sampler, MultiFidelitySampler)
    options = spec.sampler.options
    space = _Space(spec, fixed)
    generator = np.random.default_rng(trial_seed(spec.seed, number))
    begun = sorted((one for one in trials if one.intermediate_values or one.values), key=lambda one: one.number)
    rows = _rows(spec, begun)
    n_first = len({row.number for row in rows})
    # drawn before it is known whether there is a model, so that a trial more or less changes no other draw
    is_random = generator.random() < options.random_share
    if n_first < max(2, options.n_startup_trials) or is_random:
        return space.draw(generator)
    points = {trial.number: space.encode(trial.params) for trial in begun}
    process = _fit(space, rows, points)
    last = max(row.rung for row in rows)
    seen_ND = np.array(list(points.values()))
    predicted_N, _ = process.predict(seen_ND, last)
    running = [space.encode(one.params) for one in trials if one.state is TrialState.RUNNING]
    if running:
        process = process.believing(np.array(running), last)
    order = np.argsort(predicted_N, kind="stable")[:N_BEST]
    best = [begun[int(index)].params for index in order]
    candidates = [space.draw(generator) for _ in range(N_RANDOM)]
    candidates += [space.draw_near(generator, best[index % len(best)]) for index in range(N_NEAR)]
    encoded_MD = np.array([space.encode(one) for one in candidates])
    improvement_M = _expected_improvement(*process.predict(encoded_MD, last), float(predicted_N.min()))
    known = {row.tobytes() for row in seen_ND}
    improvement_M[[row.tobytes() in known for row in encoded_MD]] = -1.0  # again only where nothing else is left
    return candidates[int(improvement_M.argmax())]


@dataclass(frozen=True)
class Row:
    """The value of a trial at a rung."""

    number: int
    """Number of the trial."""
    rung: int
    """Rung, from 0; the last one is the end of a trial."""
    value: float
    """Value there, of which lower is better."""


def _rows(spec: StudySpec, trials: Sequence[FrozenTrial]) -> list[Row]:
    """Return the values of all trials at their rungs, in the order of the trials."""
    sign = spec.objectives[0].sign
    steps = _steps(spec, max((step for trial in trials for step in trial.intermediate_values), default=1))
    rows = []
    for trial in trials:
        reached = [(rung, trial.intermediate_values.get(step)) for rung, step in enumerate(steps)]
        if trial.state is TrialState.COMPLETE and trial.values:
            reached.append((len(steps), trial.values[0]))
        rows += [
            Row(trial.number, rung, sign * value)
            for rung, value in reached
            if value is not None and math.isfinite(value)
        ]
    return rows


def _steps(spec: StudySpec, last_seen: int) -> list[int]:
    """Return the steps of all rungs but the end of a trial: those of the pruner, else as many as it would have.

    Args:
        last_seen: Largest step that any trial has reached, which is all that is known of the steps of a script.
    """
    if isinstance(spec.pruner, RungsPruner):
        return rung_steps(spec, {"epochs": largest(spec, "epochs")})
    last = last_seen if spec.task == "script" else longest_schedule(spec)
    steps = [math.ceil(FIRST_SHARE * last)]
    while steps[-1] * ETA < last:
        steps.append(steps[-1] * ETA)
    return steps


def normal_scores(rows: Sequence[Row]) -> Array:
    """Return a normal score ``[N]`` of each row among those of its rung, moved to where its trials stood below."""
    scores_N = np.zeros(len(rows))
    below: dict[int, float] = {}
    for rung in sorted({row.rung for row in rows}):
        places = [place for place, row in enumerate(rows) if row.rung == rung]
        values = np.array([rows[place].value for place in places])
        in_order = np.sort(values)
        n_below, n_up_to = (np.searchsorted(in_order, values, side) for side in ("left", "right"))
        ranks = (n_below + n_up_to + 1) / 2  # equal values share the mean of their ranks
        own = np.array([_NORMAL.inv_cdf((rank - 0.5) / len(values)) for rank in ranks])
        stood = np.array([below[rows[place].number] for place in places if rows[place].number in below])
        if len(stood):
            own = own * (max(float(stood.std()), 0.3) if len(stood) > 3 else 0.5) + float(stood.mean())
        scores_N[places] = np.minimum(own, _CUT)
        below |= {rows[place].number: float(score) for place, score in zip(places, scores_N[places], strict=True)}
    return scores_N


class _Space:
    """The parameters of a study as numbers from 0 to 1; NaN where a trial does not have one."""

    def __init__(self, spec: StudySpec, fixed: Params) -> None:
        self._dimensions = dimensions(spec.search_space)
        self._distributions = to_optuna(spec.search_space)
        self._known = dict(spec.fixed)
        self._fixed = to_keys(spec, fixed)
        self.is_choice_D = np.array(
            [isinstance(one, CategoricalDistribution) for one in self._distributions.values()], dtype=bool
        )

    def encode(self, params: Params) -> Array:
        """Return the parameters ``[D]`` of a trial, which go by `Dimension.key`."""
        return np.array(
            [
                _to_unit(distribution, params[key]) if key in params else math.nan
                for key, distribution in self._distributions.items()
            ]
        )

    def draw(self, generator: np.random.Generator) -> Params:
        """Draw params at random, by `Dimension.key`."""
        return self._build(generator.random(len(self._dimensions)))

    def draw_near(self, generator: np.random.Generator, params: Params) -> Params:
        """Draw params near ``params``: numbers a little off, one choice in six another one."""
        units_D = self.encode(params)
        random_D = generator.random(len(units_D))
        moved_D = np.clip(units_D + generator.normal(0, STEP, len(units_D)), 0, np.nextafter(1, 0))
        stays_D = self.is_choice_D & (generator.random(len(units_D)) > 1 / 6)
        near_D = np.where(self.is_choice_D, np.where(stays_D, units_D, random_D), moved_D)
        return self._build(np.where(np.isnan(near_D), random_D, near_D))

    def _build(self, units_D: Array) -> Params:
        known, params = dict(self._known), Params()
        for dimension, unit in zip(self._dimensions, units_D, strict=True):
            if dimension.is_active(known):
                key = dimension.key
                params[key] = (
                    self._fixed[key] if key in self._fixed else _from_unit(self._distributions[key], float(unit))
                )
                known[dimension.name] = params[key]
        return params


def _to_unit(distribution: BaseDistribution, value: object) -> float:
    """Return where ``value`` lies in its range; of choices, the middle of its share."""
    internal = distribution.to_internal_repr(value)
    if isinstance(distribution, CategoricalDistribution):
        return (internal + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if low == high:
        return 0.5
    if distribution.log:
        low, high, internal = math.log(low), math.log(high), math.log(internal)
    return (internal - low) / (high - low)


def _from_unit(distribution: BaseDistribution, unit: float) -> ParamValue:
    """Return the value of a range at ``unit``, from 0 to below 1."""
    if isinstance(distribution, CategoricalDistribution):
        return param_value(distribution.choices[int(unit * len(distribution.choices))])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and not distribution.log:
        n_steps = round((high - low) / step)  # Optuna has moved the end to a step
        value = low + step * int(unit * (n_steps + 1))
    elif distribution.log:
        # a whole number has the room around it, as in Optuna
        margin = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        bottom, top = math.log(low - margin), math.log(high + margin)
        value = math.exp(bottom + unit * (top - bottom))
    else:
        value = low + unit * (high - low)
    value = min(max(value, low), high)
    return round(value) if isinstance(distribution, IntDistribution) else float(value)


@dataclass(frozen=True)
class _Kernel:
    """Parameters of the process, as logarithms; scores have a variance of about 1 by themselves."""

    lengths_L: Array
    rho: float = math.log(0.25)
    """Of the rate at which what is known of one rung tells less of the next: rho is e to the power of minus that."""
    noise: float = math.log(0.1)

    @property
    def log_prior(self) -> float:
        """How likely the parameters are, up to a constant: within a factor of two of the ones that it begins with."""
        offsets = np.array([*(self.lengths_L - _LENGTH), self.rho - math.log(0.25), self.noise - math.log(0.1)])
        return -0.5 * float(np.square(offsets).sum())

    def of(self, squares_DNM: Array, rungs_NM: Array) -> Array:
        """Return the covariance ``[N, M]`` of rows by the squares of their distances."""
        distance_NM = np.sqrt(5 * np.tensordot(np.exp(-2 * self.lengths_L), squares_DNM, 1))
        matern_NM = (1 + distance_NM + distance_NM**2 / 3) * np.exp(-distance_NM)
        covariance: Array = matern_NM * np.exp(-math.exp(self.rho) * rungs_NM)
        return covariance

    def neighbours(self) -> Iterator["_Kernel"]:
        """Yield kernels of which one parameter is twice as large or half."""
        for offset in (math.log(2), -math.log(2)):
            for place in range(len(self.lengths_L)):
                lengths_L = self.lengths_L.copy()
                lengths_L[place] += offset
                yield replace(self, lengths_L=lengths_L)
            yield replace(self, rho=self.rho + offset)
            yield replace(self, noise=self.noise + offset)


_LENGTH = math.log(0.6)


@dataclass(frozen=True)
class _Process:
    """A Gaussian process that knows some rows."""

    space: _Space
    kernel: _Kernel
    points_ND: Array
    rungs_N: Array
    scores_N: Array

    def predict(self, points_MD: Array, rung: int) -> tuple[Array, Array]:
        """Return mean and standard deviation ``[M]`` of scores at ``rung``."""
        own_NN = self._covariance(self.points_ND, self.rungs_N) + math.exp(self.kernel.noise) * np.eye(
            len(self.rungs_N)
        )
        inverse_NN = np.linalg.inv(np.linalg.cholesky(own_NN))
        mean_M, variance_M = np.empty(len(points_MD)), np.empty(len(points_MD))
        for begin in range(0, len(points_MD), BLOCK):
            block = slice(begin, begin + BLOCK)
            blocks_MD = points_MD[block]
            other_NM = self._covariance(blocks_MD, np.full(len(blocks_MD), float(rung)))
            weighted_NM = inverse_NN @ other_NM
            mean_M[block] = weighted_NM.T @ (inverse_NN @ self.scores_N)
            variance_M[block] = np.maximum(1 - np.square(weighted_NM).sum(0), 1e-9)
        return mean_M, np.sqrt(variance_M)

    def believing(self, points_MD: Array, rung: int) -> "_Process":
        """Return the process that knows, too, that ``points_MD`` come out as predicted."""
        mean_M, _ = self.predict(points_MD, rung)
        return replace(
            self,
            points_ND=np.concatenate([self.points_ND, points_MD]),
            rungs_N=np.concatenate([self.rungs_N, np.full(len(points_MD), float(rung))]),
            scores_N=np.concatenate([self.scores_N, mean_M]),
        )

    def log_likelihood(self, squares_DNN: Array) -> float:
        """Return how likely scores and kernel are together, up to a constant."""
        rungs_NN = np.abs(self.rungs_N[:, None] - self.rungs_N)
        own_NN = self.kernel.of(squares_DNN, rungs_NN) + math.exp(self.kernel.noise) * np.eye(len(self.rungs_N))
        root_NN = np.linalg.cholesky(own_NN)
        weighted_N = np.linalg.solve(root_NN, self.scores_N)
        log_determinant = float(np.log(np.diag(root_NN)).sum())
        return self.kernel.log_prior - 0.5 * float(weighted_N @ weighted_N) - log_determinant

    def _covariance(self, points_MD: Array, rungs_M: Array) -> Array:
        squares_DNM = _squares(self.points_ND, points_MD, self.space.is_choice_D)
        return self.kernel.of(squares_DNM, np.abs(self.rungs_N[:, None] - rungs_M))


def _fit(space: _Space, rows: Sequence[Row], points: dict[int, Array]) -> _Process:
    scores_N = normal_scores(rows)
    newest = sorted(range(len(rows)), key=lambda place: (-rows[place].rung, -rows[place].number))[:MAX_ROWS]
    process = _Process(
        space,
        _Kernel(np.full(len(space.is_choice_D), _LENGTH)),
        np.array([points[rows[place].number] for place in newest]),
        np.array([float(rows[place].rung) for place in newest]),
        scores_N[newest],
    )
    few = slice(None, None, math.ceil(len(newest) / TUNED_ROWS))
    tuned = replace(
        process, points_ND=process.points_ND[few], rungs_N=process.rungs_N[few], scores_N=process.scores_N[few]
    )
    squares_DNN = _squares(tuned.points_ND, tuned.points_ND, space.is_choice_D)
    # One step of each parameter at a time: the process is fitted anew for each proposal, from the same beginning
    best = tuned.log_likelihood(squares_DNN)
    for _ in range(2):
        for place in range(2 * len(space.is_choice_D) + 4):
            kernel = list(tuned.kernel.neighbours())[place]
            found = replace(tuned, kernel=kernel).log_likelihood(squares_DNN)
            if found > best:
                best, tuned = found, replace(tuned, kernel=kernel)
    return replace(process, kernel=tuned.kernel)


def _squares(points_ND: Array, points_MD: Array, is_choice_D: NDArray[np.bool_]) -> Array:
    """Return the squares of the distances ``[D, N, M]``: of numbers in their range, of others 0 or 1."""
    offsets_NMD = points_ND[:, None] - points_MD
    squares_NMD = np.where(is_choice_D, np.abs(offsets_NMD) > 1e-9, np.square(offsets_NMD))
    has_ND, has_MD = ~np.isnan(points_ND), ~np.isnan(points_MD)
    squares_NMD = np.where(has_ND[:, None] & has_MD, squares_NMD, has_ND[:, None] ^ has_MD)
    return np.ascontiguousarray(np.moveaxis(squares_NMD, 2, 0), dtype=np.float64)


def _expected_improvement(mean_M: Array, deviation_M: Array, best: float) -> Array:
    gain_M = (best - mean_M) / deviation_M
    share_M = np.array([_NORMAL.cdf(gain) for gain in gain_M])
    density_M = np.exp(-0.5 * gain_M**2) / math.sqrt(2 * math.pi)
    improvement_M: Array = deviation_M * (gain_M * share_M + density_M)
    return improvement_M
