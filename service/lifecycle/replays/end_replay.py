"""End the replay of a trial: with what a worker has told, or with the reason why none will."""

from service.errors import TrialNotReplayable
from service.lifecycle.replays.compare_replay import compare_replay
from service.lifecycle.replays.recorded_run import machine_of, recorded_run
from service.store import attempts, events, leases, replays, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.event import ReplayEnded
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ReplayedEvaluation
from spezia.contract.replay import Machine

_CANCELLED = Failure(failure_class="cancelled", message="the replay was cancelled before a worker began it")


def accept_replay(
    tx: Transaction, study: StudyRow, held: Lease, evaluations: list[ReplayedEvaluation], failure: Failure | None
) -> None:
    """Compare what the worker of a replay has told, under the study's lock; nothing else of the study changes."""
    [ran] = [row for row in attempts.history(tx, study.uuid, "replay", held.number) if row.lease_id == held.lease_id]
    _end(tx, study, held.number, evaluations, failure, machine_of(ran))


def end_without_result(tx: Transaction, study: StudyRow, number: int, failure: Failure) -> None:
    """End a replay that no worker has brought to its end."""
    _end(tx, study, number, [], failure, None)


def cancel_replay(tx: Transaction, study: StudyRow, number: int) -> None:
    """Cancel the replay of a trial of a locked study: one that waits ends at once, one that runs within a heartbeat;
    harmless where there is none."""
    found = replays.find(tx, study.uuid, number)
    if found is None or found.ended_at is not None:
        return
    if replays.is_held(tx, study.uuid, number):
        leases.cancel(tx, study.uuid, "replay", number)
    else:
        end_without_result(tx, study, number, _CANCELLED)


def _end(
    tx: Transaction,
    study: StudyRow,
    number: int,
    evaluations: list[ReplayedEvaluation],
    failure: Failure | None,
    machine: Machine | None,
) -> None:
    trial = trials.find(tx, study, number)
    if trial is None:
        raise TrialNotReplayable(f"trial {number} of {study.name} is gone")
    result = compare_replay(recorded_run(tx, study, trial), evaluations, failure, machine)
    replays.end(tx, study.uuid, number, result.model_dump(mode="json"))
    ended = ReplayEnded(number=number, verdict=result.verdict, sentence=result.sentence)
    events.add(tx, study.uuid, study.study_id, ended)
