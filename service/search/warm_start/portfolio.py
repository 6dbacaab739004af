"""The trials of finished studies with which a new study begins: those that together are best.

Candidates are the best trials of each study. What a candidate is worth in its own study is known; in the others it is
predicted, by the process of the sampler `multi-fidelity` fitted to them. Its regret in a study is the distance to what
is best there, in fact or by prediction, as a share of the distance from that to the median, in normal scores. Chosen
is, again and again, what lowers most the regret that is left of the best chosen trial in each study, on average over
all of them, weighed by likeness, until nothing lowers it any more. So the trials of one study alone are its single best
one.

P = past studies, C = candidates.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from service.search.baseline import default_value
from service.search.propose.process import fit_process, normal_scores
from service.search.propose.rows import rows_of
from service.search.propose.unit_space import Array, UnitSpace
from service.search.results.ranking import best_trial, ranked
from service.search.space.allowed import nearest
from service.search.space.distributions import to_optuna
from service.search.space.params import to_keys, trial_params
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import ParamValue, default_of
from spezia.contract.ranges import Choices
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec, params_errors
from spezia.contract.warm_start import TakenFrom

MAX_TAKEN = 4
"""Largest number of trials that a study takes from others."""
N_BEST = 10
"""Number of the best trials of each study that are candidates."""
MIN_GAIN = 0.01
"""Share of the regret of a median trial by which a further trial has to lower what is left."""


@dataclass(frozen=True, kw_only=True)
class PastStudy:
    """A finished study, as far as another one learns from it."""

    name: str
    """Name of the study."""
    spec: StudySpec
    """Its spec."""
    facts: Facts
    """What its worker found out about data and model."""
    likeness: float
    """How alike it is to the study that begins, above 0."""
    trials: Sequence[FrozenTrial]
    """Some of its COMPLETE and PRUNED trials, the best ones among them."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A trial of a past study that is to run in another one."""

    params: Params
    """All searched params that it has in the other study, by their plain names."""
    source: TakenFrom
    """The trial that had them."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A trial of a past study that could run in the study that begins."""

    taken: Taken
    place: int
    """Place of its study among the past ones."""


def portfolio(spec: StudySpec, past: Sequence[PastStudy], count: int, known: Collection[Params] = ()) -> list[Taken]:
    """Return up to ``count`` trials of past studies, the best first: the same ones for the same arguments.

    Args:
        past: Past studies, the one that is most alike first.
        known: Params by `Dimension.key` that the study runs anyway.
    """
    past = [one for one in map(_with_own_trials, past) if best_trial(one.trials, one.spec) is not None]
    candidates = _candidates(spec, past, known)
    if not candidates:
        return []
    regrets_PC = np.array([_regrets(spec, place, one, candidates) for place, one in enumerate(past)])
    weights_P = np.array([one.likeness for one in past])
    weights_P /= weights_P.sum()
    chosen: list[int] = []
    left_P = np.full(len(past), np.inf)
    while len(chosen) < min(count, len(candidates)):
        together_C = weights_P @ np.minimum(left_P[:, None], regrets_PC)
        best = int(together_C.argmin())
        if chosen and together_C[best] > weights_P @ left_P - MIN_GAIN:
            break
        chosen.append(best)
        left_P = np.minimum(left_P, regrets_PC[:, best])
    return [candidates[row].taken for row in chosen]


def _with_own_trials(past: PastStudy) -> PastStudy:
    """Leave out trials that another program has added with ranges of its own."""
    ranges = to_optuna(past.spec.search_space)
    own = [one for one in past.trials if all(ranges.get(key) == each for key, each in one.distributions.items())]
    return replace(past, trials=own)


def _candidates(spec: StudySpec, past: Sequence[PastStudy], known: Collection[Params]) -> list[_Candidate]:
    """The best trials of each study that lie in the search space, each params once, those of the most alike first."""
    seen, found = list(known), []
    for place, one in enumerate(past):
        for trial in ranked(one.trials, one.spec)[:N_BEST]:
            params = _in_space(spec, trial_params(one.spec, trial.params), one.facts)
            if params is None or (keyed := to_keys(spec, params)) in seen:
                continue
            seen.append(keyed)
            source = TakenFrom(study=one.name, number=trial.number)
            found.append(_Candidate(taken=Taken(params=params, source=source), place=place))
    return found


def _in_space(spec: StudySpec, ran: Params, facts: Facts) -> Params | None:
    """Return what a trial ran with as params of another study; ``None`` if they do not lie in its search space.

    What the other study fixes holds there, but for the method, which decides what the rest means.

    Args:
        ran: All params that the trial had, by their plain names.
        facts: Those of the trial's own study.
    """
    params: Params = {}
    for dimension in dimensions(spec.search_space):
        if dimension.is_active(spec.fixed | params):
            value = _value(dimension.name, ran, facts)
            if value is None:
                return None
            params[dimension.name] = value
    is_other_method = _method(spec.fixed | params) != _method(ran)
    return None if is_other_method or params_errors(spec, params) else params


def _value(name: str, ran: Params, facts: Facts) -> ParamValue | None:
    """What a trial had of a parameter, said by the other of two names or by default; ``None``: it cannot be said."""
    if name in ran:
        return ran[name]
    n_frozen, share = ran.get("frozen_layers"), ran.get("frozen_fraction")
    if name == "frozen_fraction" and isinstance(n_frozen, int):
        return n_frozen / facts.blocks if facts.blocks else None
    if name == "frozen_layers" and isinstance(share, float):
        return round(share * facts.blocks) if facts.blocks else None
    return default_value(name, ran, facts)


def _method(params: Params) -> ParamValue | None:
    return params.get("method", default_of("method", params))


def _regrets(spec: StudySpec, place: int, past: PastStudy, candidates: Sequence[_Candidate]) -> Array:
    """Regrets ``[C]`` of all candidates in one past study."""
    trials = sorted(past.trials, key=lambda one: one.number)
    rows = rows_of(past.spec, trials)
    last = max(row.rung for row in rows)
    space = UnitSpace(past.spec, {})
    points = {trial.number: space.encode(trial.params) for trial in trials}
    process = fit_process(space, rows, points)
    values_C, _ = process.predict(
        np.array([space.encode(_as_seen_by(past, spec.fixed | one.taken.params)) for one in candidates]), last
    )
    complete = {trial.number for trial in trials if trial.state is TrialState.COMPLETE}
    own = {
        row.number: float(score)
        for row, score in zip(rows, normal_scores(rows), strict=True)
        if row.rung == last and row.number in complete
    }
    for column, one in enumerate(candidates):
        if one.place == place:
            values_C[column] = own[one.taken.source.number]
    seen_N, _ = process.predict(np.array(list(points.values())), last)
    best = min(*own.values(), float(seen_N.min()))
    spread = float(np.median(seen_N)) - best
    regrets_C: Array = np.maximum(values_C - best, 0.0) / spread if spread > 1e-9 else np.zeros(len(candidates))
    return regrets_C


def _as_seen_by(past: PastStudy, params: Params) -> Params:
    """Return params by `Dimension.key` of a past study: numbers moved into its ranges; names it did not have are left
    out."""
    known, keyed = dict(past.spec.fixed), Params()
    for dimension in dimensions(past.spec.search_space):
        if not dimension.is_active(known):
            continue
        value = _value(dimension.name, params, past.facts)
        if value is None:
            continue
        inside = nearest(dimension.distribution, value)
        is_name = isinstance(dimension.distribution, Choices) and not isinstance(value, int | float)
        if inside == value or not is_name:
            keyed[dimension.key] = known[dimension.name] = inside
    return keyed
