"""The Gaussian process over configurations and rungs by which the sampler `multi-fidelity` predicts.

Its rows are the values of all trials at all rungs. Of a rung they become normal scores, so that neither the scale of a
loss nor an outlier counts. Since only the best go on, the scores of a higher rung are put where their trials stood at
the rung below. The kernel is Matern 5/2 over the params, with a
length for each, times rho to the power of the distance in rungs (Swersky et al. 2013 have such products). A parameter
that a trial does not have is as far from one that it has as the ends of a range; so is one choice from another.

N = rows, M = other rows, D = parameters, L = lengths, one for each parameter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from service.search.propose.rows import Row
from service.search.propose.unit_space import Array, UnitSpace

MAX_ROWS = 220
"""Number of rows that the process is fitted to: those of the highest rungs, then the newest."""
TUNED_ROWS = 100
"""Number of rows by which lengths, rho and noise are chosen, at most."""
BLOCK = 1_000
"""Number of points that are predicted at a time, so that a study of many trials takes little memory."""

_NORMAL = NormalDist()
_CUT = _NORMAL.inv_cdf(0.8)
"""Score that the worst fifth has: how bad it is teaches nothing."""


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
class Process:
    """A Gaussian process that knows some rows."""

    space: UnitSpace
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

    def believing(self, points_MD: Array, rung: int) -> "Process":
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


def fit_process(space: UnitSpace, rows: Sequence[Row], points: dict[int, Array]) -> Process:
    scores_N = normal_scores(rows)
    newest = sorted(range(len(rows)), key=lambda place: (-rows[place].rung, -rows[place].number))[:MAX_ROWS]
    process = Process(
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
