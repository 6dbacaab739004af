"""Run a trial again and compare its numbers (POST and GET /v1/studies/{name}/trials/{number}/replay)."""

from service.errors import ReplayNotFound
from service.lifecycle.replays.recorded_run import recorded_run
from service.lifecycle.trials.find_trial import find_trial
from service.store import attempts, replays, studies
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.replay import Comparison, Replay, ReplayState


def replay_trial(store: Store, name: str, number: int) -> Replay:
    """Ask for a replay of a trial that has ended; while one waits or runs, that one is meant.

    It is no trial and changes nothing of the study, which may run or have ended.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        TrialNotReplayable: The trial has not ended, or there is nothing to compare with.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        recorded_run(tx, study, find_trial(tx, study, number))
        found = replays.find(tx, study.uuid, number)
        if found is None or found.ended_at is not None:
            replays.ask(tx, study.uuid, number)
        return _describe(tx, study, number)


def show_replay(store: Store, name: str, number: int) -> Replay:
    """Describe the last replay of a trial.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        ReplayNotFound: Nobody has asked for a replay of it.
    """
    with store.reading() as tx:
        return _describe(tx, studies.find(tx, name), number)


def _describe(tx: Transaction, study: StudyRow, number: int) -> Replay:
    trial = find_trial(tx, study, number)
    found = replays.find(tx, study.uuid, number)
    if found is None:
        raise ReplayNotFound(study.name, number)
    state: ReplayState = "running" if replays.is_held(tx, study.uuid, number) else "waiting"
    recorded = recorded_run(tx, study, trial)
    past = attempts.history(tx, study.uuid, "replay", number)
    return Replay(
        study=study.name,
        number=number,
        state=state if found.ended_at is None else "ended",
        manifest=recorded.manifest,
        recorded_on=recorded.machine,
        requested_at=found.requested_at,
        ended_at=found.ended_at,
        device_seconds=sum(row.device_seconds for row in past if row.attempt >= found.first_attempt),
        result=None if found.result is None else Comparison.model_validate(found.result),
    )
