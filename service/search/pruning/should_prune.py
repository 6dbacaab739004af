"""Whether a trial ends early, as the study's pruner of Optuna's would decide it.

Which trials it is compared with is in `comparable`, the pruners are in `pruners`, and why one ended a trial in
`reasons`.
"""

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.trial import FrozenTrial

from service.optuna_private import all_but, bracket_of
from service.search.pruning.comparable import comparable_trials, schedule_of
from service.search.pruning.curves import Curves
from service.search.pruning.percentile import is_behind
from service.search.pruning.pruners import build_pruner
from service.search.pruning.reasons import Reason, reason_of
from service.search.snapshot_storage import SnapshotStorage
from spezia.contract import pruners
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a pruner says after one report of a trial."""

    should_prune: bool
    """Whether the trial ends early."""
    reason: Reason | None
    """Why the trial is pruned; ``None`` when it goes on."""
    system_attrs: dict[str, Any]
    """System attributes that the pruner wants stored on the trial, with the report."""


def should_prune(
    spec: StudySpec,
    study_name: str,
    trial: FrozenTrial,
    trials: Sequence[FrozenTrial],
    curves: Callable[[], Curves] | None = None,
) -> Decision:
    """Decide on a running trial whose newest intermediate value is its last step, as Optuna's pruner would.

    Nothing given is changed.

    Args:
        trials: All trials of the study; the trial itself may be among them and is not compared with itself.
        curves: Gives the curves of the COMPLETE ones of ``trials``, where the caller has them at hand.
    """
    if isinstance(spec.pruner, pruners.NoPruner | pruners.RungsPruner) or not trial.intermediate_values:
        return Decision(should_prune=False, reason=None, system_attrs={})
    if isinstance(spec.pruner, pruners.MedianPruner | pruners.PercentilePruner):
        others = Curves().extended(all_but(trial.number, trials)) if curves is None else curves()
        if others.n_complete < spec.pruner.options.n_startup_trials:
            return Decision(should_prune=False, reason=None, system_attrs={})
        # the rest is rare: our reports are finite
        if math.isfinite(sum(trial.intermediate_values.values())):
            return _decide_by_curves(spec, spec.pruner, trial, trials, others)
    return _ask_optuna(spec, study_name, _with_decisive_values(spec, trial), trials)


def _decide_by_curves(
    spec: StudySpec,
    pruner: pruners.MedianPruner | pruners.PercentilePruner,
    trial: FrozenTrial,
    trials: Sequence[FrozenTrial],
    others: Curves,
) -> Decision:
    peers = others.at(max(trial.intermediate_values), schedule_of(trial))
    pruned = is_behind(pruner, spec.direction, trial.intermediate_values, peers)
    reason = reason_of(spec, trial, list(comparable_trials(trial, trials))) if pruned else None
    return Decision(should_prune=pruned, reason=reason, system_attrs={})


def _ask_optuna(spec: StudySpec, study_name: str, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> Decision:
    storage = SnapshotStorage(
        study_name=study_name,
        directions=[spec.direction],
        trials=comparable_trials(trial, trials),
        own=trial,
        study_system_attrs={},
    )
    pruner = build_pruner(spec)
    # the sampler is never asked; Optuna would make one if there were none
    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name=study_name, storage=storage, sampler=sampler, pruner=pruner)
    pruned = bool(pruner.prune(study, trial))  # numpy may answer
    return Decision(
        should_prune=pruned,
        reason=reason_of(spec, storage.own, _rivals(pruner, study, trial, storage.others)) if pruned else None,
        system_attrs=storage.written_system_attrs,
    )


def _with_decisive_values(spec: StudySpec, trial: FrozenTrial) -> FrozenTrial:
    """The trial with none of its values but those that decide, as Optuna's pruners go through all of them, slowly.

    Each of them looks at no more than the best value, at as many of the last ones as `patient` waits for, and at
    whether the last one is the first of its interval.
    """
    own = trial.intermediate_values
    if isinstance(spec.pruner, pruners.MedianPruner | pruners.PercentilePruner) or not math.isfinite(sum(own.values())):
        return trial
    n_last = 2 + (spec.pruner.options.patience if isinstance(spec.pruner, pruners.PatientPruner) else 0)
    decisive = copy(trial)
    best = (min if spec.direction == "minimize" else max)(own, key=own.__getitem__)
    decisive.intermediate_values = {step: own[step] for step in {best, *sorted(own)[-n_last:]}}
    return decisive


def _rivals(
    pruner: BasePruner, study: optuna.Study, trial: FrozenTrial, peers: Sequence[FrozenTrial]
) -> Sequence[FrozenTrial]:
    if not isinstance(pruner, HyperbandPruner):
        return peers
    bracket = bracket_of(pruner, study, trial)
    return [peer for peer in peers if bracket_of(pruner, study, peer) == bracket]
