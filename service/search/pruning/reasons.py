"""Why a trial was pruned, in words and in numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from service.optuna_private import COMPLETED_RUNG
from service.search.pruning.percentile import percentile_of
from spezia.common.plural import plural
from spezia.contract import pruners
from spezia.contract.study_spec import StudySpec
from spezia.contract.tasks import Direction


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a pruner ended a trial. Fields that its rule does not know are ``None``."""

    text: str
    """The reason in words."""
    value: float
    """Value of the trial that was compared."""
    threshold: float | None = None
    """Limit that the value was compared with."""
    rank: int | None = None
    """Place of the trial among its peers and itself, from 1."""
    rung: int | None = None
    """Rung of successive halving or Hyperband at which the trial was compared."""
    peers: list[int]
    """Numbers of the trials that it was compared with."""


def reason_of(spec: StudySpec, trial: FrozenTrial, peers: Sequence[FrozenTrial]) -> Reason:
    """Return why the study's pruner ended ``trial`` at its last step, where it compared the trial with ``peers``."""
    step = trial.last_step
    assert step is not None
    best = _best(trial.intermediate_values.values(), spec.direction)
    so_far = f"step {step}: best value so far {best:.6g}"
    value = trial.intermediate_values[step]
    match spec.pruner:
        case pruners.MedianPruner() | pruners.PercentilePruner():
            return _beside_limit(spec, so_far, best, peers, step, percentile_of(spec.pruner))
        case pruners.SuccessiveHalvingPruner(options=options) | pruners.HyperbandPruner(options=options):
            return _in_rung(spec, so_far, trial, peers, options)
        case pruners.PatientPruner(options=options):
            more = f" by more than {options.min_delta:g}" if options.min_delta else ""
            text = f"{so_far} has not improved{more} in the last {options.patience + 1} evaluations"
            return Reason(text=text, value=value, peers=[])
        case pruners.ThresholdPruner(options=options):
            below = options.lower is not None and value < options.lower
            side = f"below lower = {options.lower:g}" if below else f"above upper = {options.upper:g}"
            limit = options.lower if below else options.upper
            return Reason(text=f"{so_far}; the value {value:.6g} lies {side}", value=value, threshold=limit, peers=[])
        case pruners.NoPruner() | pruners.RungsPruner():
            raise AssertionError(f"pruner {spec.pruner.name} prunes nothing")


def _beside_limit(
    spec: StudySpec, so_far: str, best: float, peers: Sequence[FrozenTrial], step: int, percentile: float
) -> Reason:
    complete = [peer for peer in peers if peer.state == TrialState.COMPLETE and step in peer.intermediate_values]
    values = sorted(peer.intermediate_values[step] for peer in complete)
    position = (len(values) - 1) * (100 - percentile if spec.direction == "maximize" else percentile) / 100
    below = values[math.floor(position)]
    limit = below + (values[math.ceil(position)] - below) * (position - math.floor(position))
    what = "the median" if percentile == 50 else f"the limit of the best {percentile:g} %"
    return Reason(
        text=f"{so_far} is worse than {limit:.6g}, {what} of {plural(len(values), 'trial')} at this step",
        value=best,
        threshold=limit,
        rank=_rank(spec, best, values),
        peers=[peer.number for peer in complete],
    )


def _in_rung(
    spec: StudySpec,
    so_far: str,
    trial: FrozenTrial,
    peers: Sequence[FrozenTrial],
    options: pruners.SuccessiveHalvingOptions | pruners.HyperbandOptions,
) -> Reason:
    rung = sum(key.startswith(COMPLETED_RUNG) for key in trial.system_attrs) - 1
    key = f"{COMPLETED_RUNG}{rung}"
    value = trial.system_attrs[key]
    rivals = {peer.number: peer.system_attrs[key] for peer in peers if key in peer.system_attrs}
    n_all = len(rivals) + 1
    rank = _rank(spec, value, rivals.values())
    promoted = max(1, n_all // options.reduction_factor)
    if n_all <= options.bootstrap_count:
        why = f"the first {plural(options.bootstrap_count, 'trial')} at rung {rung} end there (bootstrap_count)"
    else:
        why = (
            f"the value {value:.6g} ranks {rank} of {n_all} at rung {rung}, where the best {promoted} of {n_all} go on"
        )
    return Reason(text=f"{so_far}; {why}", value=value, rank=rank, rung=rung, peers=sorted(rivals))


def _rank(spec: StudySpec, value: float, rivals: Iterable[float]) -> int:
    sign = spec.objectives[0].sign
    return 1 + sum(sign * rival < sign * value for rival in rivals)


def _best(values: Any, direction: Direction) -> float:
    return float(min(values) if direction == "minimize" else max(values))
