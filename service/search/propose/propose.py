"""The params of the next trial, as a pure function of what the study has seen."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from service.optuna_private import FIXED_PARAMS, all_but, suggest
from service.rung_marks import PARTIAL, pause_of, reported_values_of
from service.search.propose.grid import next_grid_point
from service.search.propose.multi_fidelity import next_point
from service.search.propose.samplers import build_sampler
from service.search.snapshot_storage import STUDY_ID, SnapshotStorage, running_trial
from service.search.space.distributions import to_optuna
from service.search.space.params import to_keys
from spezia.contract.samplers import GridSampler, MultiFidelitySampler, QmcSampler, RandomSampler
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec

AHEAD_FROM = 2_000
"""Number of trials of a study from which on proposals are made ahead. They take longer then (TPE: 50 ms with seven
parameters) than a worker should wait, and one result more or less no longer matters to them.
"""


@dataclass(frozen=True, kw_only=True)
class ProposalRequest:
    """All that decides a proposal."""

    spec: StudySpec
    study_name: str
    number: int
    """Number of the trial to be proposed. A trial of this number among ``trials`` is ignored."""
    trials: Sequence[FrozenTrial]
    """Trials of the study, in any order. Samplers see those that have started, paused ones as PRUNED; a grid also
    skips those that wait."""
    study_system_attrs: Mapping[str, Any] = field(default_factory=dict)
    fixed: Params = field(default_factory=dict)
    """Plain params given by an enqueued trial or the baseline, inside the space; the others are sampled."""


def is_made_ahead(spec: StudySpec, number: int) -> bool:
    """Return whether trial ``number`` is proposed when the trial before it starts, not when a worker asks for it."""
    return number >= AHEAD_FROM and not isinstance(spec.sampler, RandomSampler | GridSampler | QmcSampler)


def as_before(request: ProposalRequest) -> ProposalRequest:
    """Return a request as it was when the trial before its own started: the result of that trial is not known.

    So a proposal that is made when it is asked for, as after a restart, equals one that was made ahead, as long as one
    trial runs at a time.
    """
    before = request.number - 1
    return replace(request, trials=[_begun(one) if one.number == before else one for one in request.trials])


def _begun(trial: FrozenTrial) -> FrozenTrial:
    begun = copy(trial)
    begun.state, begun.values, begun.intermediate_values = TrialState.RUNNING, None, {}
    begun.system_attrs = {key: value for key, value in trial.system_attrs.items() if key != PARTIAL}
    begun.datetime_complete = None
    return begun


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A trial to run, and the attributes that its sampler wants stored with it, in the same transaction."""

    params: Params
    """All searched params that the trial has, by `Dimension.key`, in the types that the spec gives them."""
    distributions: dict[str, BaseDistribution]
    """Distributions of the same params."""
    system_attrs: dict[str, Any]
    """System attributes of the trial."""
    study_system_attrs: dict[str, Any]
    """System attributes of the study, only those that change."""


def waiting_trial(number: int, proposal: Proposal) -> FrozenTrial:
    """Return the trial that a proposal is until it starts, as far as later proposals go by it."""
    trial = running_trial(number, proposal.system_attrs)
    trial.state = TrialState.WAITING
    trial.params, trial.distributions = proposal.params, proposal.distributions
    return trial


def propose(request: ProposalRequest) -> Proposal | None:
    """Return the next trial of a study, or ``None`` when a grid is exhausted.

    The same request gives the same proposal in every process. For sampler ``gp`` this may import torch: the service
    asks `Proposer` instead.
    """
    fixed = to_keys(request.spec, request.fixed)
    own = running_trial(request.number, {FIXED_PARAMS: fixed} if fixed else {})
    if isinstance(request.spec.sampler, GridSampler):
        point = next_grid_point(request.spec, all_but(request.number, request.trials), request.fixed)
        return None if point is None else _proposal(request.spec, own, point, {})
    if isinstance(request.spec.sampler, MultiFidelitySampler):
        others = [_as_seen(trial) for trial in all_but(request.number, request.trials)]
        return _proposal(request.spec, own, next_point(request.spec, request.number, others, request.fixed), {})
    unseen = _unseen(request.spec)
    storage = SnapshotStorage(
        study_name=request.study_name,
        directions=request.spec.directions,
        trials=(trial for trial in map(_as_seen, request.trials) if trial.state not in unseen),
        own=own,
        study_system_attrs=request.study_system_attrs,
    )
    study = optuna.load_study(
        study_name=request.study_name,
        storage=storage,
        sampler=build_sampler(request.spec, request.number, request.trials),
        pruner=NopPruner(),
    )
    # `Study.ask` would first go through all trials for one that waits
    _suggest_active(Trial(study, storage.create_new_trial(STUDY_ID)), request.spec)
    return _proposal(request.spec, storage.own, storage.own.params, storage.written_study_system_attrs)


def _as_seen(trial: FrozenTrial) -> FrozenTrial:
    """A trial as samplers see it: one that is paused is PRUNED at its last value, for as long as it waits.

    Samplers compare values of one step, at which all trials have read as many validation rows, so what a trial has read
    of a part of them is among its values here.
    """
    is_paused = trial.state is TrialState.WAITING and pause_of(trial) is not None
    if not is_paused and PARTIAL not in trial.system_attrs:
        return trial
    seen = copy(trial)
    seen.intermediate_values = reported_values_of(trial)
    if is_paused:
        seen.state, seen.values = TrialState.PRUNED, [seen.intermediate_values[max(seen.intermediate_values)]]
    return seen


def _unseen(spec: StudySpec) -> Sequence[TrialState]:
    """TPE asks what a PRUNED trial's last value is worth, and Optuna fails where there are several objectives."""
    return (TrialState.WAITING, TrialState.PRUNED) if len(spec.objectives) > 1 else (TrialState.WAITING,)


def _suggest_active(trial: Trial, spec: StudySpec) -> None:
    """Draw one parameter after the other; one with a condition is drawn only where it is met."""
    params = dict(spec.fixed)
    distributions = to_optuna(spec.search_space)
    for dimension in dimensions(spec.search_space):
        if dimension.is_active(params):
            # what `Study.ask` does for each range that it is given
            params[dimension.name] = suggest(trial, dimension.key, distributions[dimension.key])


def _proposal(spec: StudySpec, own: FrozenTrial, params: Params, study_system_attrs: dict[str, Any]) -> Proposal:
    distributions = {key: one for key, one in to_optuna(spec.search_space).items() if key in params}
    return Proposal(
        params={
            name: distribution.to_external_repr(distribution.to_internal_repr(params[name]))
            for name, distribution in distributions.items()
        },
        distributions=distributions,
        system_attrs=own.system_attrs,
        study_system_attrs=study_system_attrs,
    )
