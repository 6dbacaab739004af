"""The sampler `multi-fidelity`: a Gaussian process over configurations and rungs, of which early values teach too.

The process is that of `process`, and its rows are the values of all trials at all rungs (`rows`).

A third of the trials is drawn at random, and the others are of the largest expected improvement at the last rung, among
random points and neighbours of the best. What runs is believed to come out as predicted. The algorithm and its
constants come from simulations on recorded learning curves (docs/decisions/0030-a-sampler-over-rungs.md).

N = rows, M = other rows, D = parameters.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from service.search.propose.process import fit_process
from service.search.propose.rows import rows_of
from service.search.propose.unit_space import Array, UnitSpace
from service.search.seeds import trial_seed
from spezia.contract.samplers import MultiFidelitySampler
from spezia.contract.study_spec import Params, StudySpec

N_RANDOM, N_NEAR, N_BEST = 300, 200, 6
"""Candidates that are drawn at random, and near how many of the best predicted trials."""

_NORMAL = NormalDist()


def next_point(spec: StudySpec, number: int, trials: Sequence[FrozenTrial], fixed: Params) -> Params:
    """Return the params of trial ``number`` by `Dimension.key`: the same ones for the same arguments.

    Args:
        trials: All other trials, in any order; those that have not begun teach nothing.
        fixed: Params that the trial must have, by their plain names.
    """
    assert isinstance(spec.sampler, MultiFidelitySampler)
    options = spec.sampler.options
    space = UnitSpace(spec, fixed)
    generator = np.random.default_rng(trial_seed(spec.seed, number))
    begun = sorted((one for one in trials if one.intermediate_values or one.values), key=lambda one: one.number)
    rows = rows_of(spec, begun)
    n_first = len({row.number for row in rows})
    # drawn before it is known whether there is a model, so that a trial more or less changes no other draw
    is_random = generator.random() < options.random_share
    if n_first < max(2, options.n_startup_trials) or is_random:
        return space.draw(generator)
    points = {trial.number: space.encode(trial.params) for trial in begun}
    process = fit_process(space, rows, points)
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


def _expected_improvement(mean_M: Array, deviation_M: Array, best: float) -> Array:
    gain_M = (best - mean_M) / deviation_M
    share_M = np.array([_NORMAL.cdf(gain) for gain in gain_M])
    density_M = np.exp(-0.5 * gain_M**2) / math.sqrt(2 * math.pi)
    improvement_M: Array = deviation_M * (gain_M * share_M + density_M)
    return improvement_M
