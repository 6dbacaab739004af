"""What the record of a trial holds for its replay: what to run again, and the numbers to compare with."""

from dataclasses import dataclass
from typing import Any

from service.errors import TrialNotReplayable
from service.search.pruning.rungs import partial_steps, steps_to_evaluate
from service.search.space.params import trial_params
from service.store import attempts, measurements, trials
from service.store.sql.statements import Row
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.failure import FailureClass
from spezia.contract.outcomes import MAX_REPLAYED
from spezia.contract.replay import Machine, Manifest

_FROM_OUTSIDE = ("disk_full", "lost", "preempted", "cancelled", "budget")
"""Classes of failures that say nothing of the trial: its replay ends where the trial was ended."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """The attempt that ended a trial."""

    name: str
    """The trial in words."""
    manifest: Manifest
    machine: Machine
    metric: str
    """Metric of the first objective, whose value an evaluation has beside its metrics."""
    evaluations: list[Row]
    """Its evaluations in order, at most `MAX_REPLAYED`."""
    evaluate_at: list[int] | None
    """Steps at which it was evaluated, or would have been; ``None``: at every step."""
    partial_at: dict[int, float]
    """Steps of these at which it read only a share of the validation rows, with the share."""
    last_step: int | None
    """Step at which its replay ends; ``None``: it ends by itself, in ``failure_class``."""
    failure_class: FailureClass | None
    """Class in which the trial failed by itself; ``None``: it did not."""


def recorded_run(tx: Transaction, study: StudyRow, trial: FrozenTrial) -> RecordedRun:
    """Return what is recorded of a trial that has ended.

    Raises:
        TrialNotReplayable: It has not ended, or there is nothing to compare a replay with.
    """
    name = f"trial {trial.number} of {study.name}"
    if not trial.state.is_finished():
        raise TrialNotReplayable(f"{name} is {trial.state.name}; a trial can be replayed once it has ended")
    past = attempts.history(tx, study.uuid, "trial", trial.number)
    if study.facts is None or not past:
        raise TrialNotReplayable(f"no worker has run {name}, so there is nothing to replay")
    evaluations = measurements.of_attempt(tx, study.uuid, trial.number, past[-1].attempt)[:MAX_REPLAYED]
    failure = trials.failure_of(trial)
    failed_as = None if failure is None or failure.failure_class in _FROM_OUTSIDE else failure.failure_class
    if not evaluations and failed_as is None:
        raise TrialNotReplayable(f"{name} ended before its first evaluation, so there is nothing to compare with")
    params = trial_params(study.spec, trial.params)
    planned = steps_to_evaluate(study.spec, params, study.facts)
    return RecordedRun(
        name=name,
        manifest=Manifest(
            params=params,
            seed=study.spec.seed,
            precision=study.facts.precision,
            model_sha256=study.facts.model_sha256,
            model_commit=study.facts.model_commit,
            data_sha256=study.facts.data_sha256,
        ),
        machine=machine_of(past[-1]),
        metric=study.spec.metric,
        evaluations=evaluations,
        evaluate_at=[row.step for row in evaluations] if failed_as is None else planned,
        partial_at=partial_steps(study.spec, params, study.facts),
        last_step=evaluations[-1].step if failed_as is None else None,
        failure_class=failed_as,
    )


def machine_of(attempt: Any) -> Machine:
    """Return what an attempt ran on, by its row."""
    return Machine(device=attempt.device, device_kind=attempt.device_kind, versions=attempt.versions or {})
