"""What must hold in the database and on disk after any fault: I1 to I16 of the reliability plan.

    assert violations(engine, folder) == []

I12 (all ends), I14 (an answer is kept) and the history side of I3, I5 and I10 need to know what was said over the
wire: `tests/faults/simulation.py` and the tests themselves keep account of that.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, text

from service.store.optuna import tables as optuna
from service.store.sql import tables as ours
from spezia.contract.confirm import MAX_SEEDS, Confirmation
from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import StudySpec
from tests.faults.snapshot import Snapshot, TrialRow

ENDED = ("complete", "cancelled", "failed")
KEEPS_REPORTS = ("diverged", "budget", "cancelled")
"""Failure classes with which a worker may end a trial PRUNED that no pruner has pruned."""


def violations(engine: Engine, folder: Path | None = None, *, is_quiet: bool = False) -> list[str]:
    """Return what is wrong, in words, each with the number of its invariant; nothing when all is well.

    Args:
        folder: Of the artifacts; without it files are not looked at.
        is_quiet: All faults are over, every study has ended: nothing may be left open.
    """
    with engine.connect() as connection:
        snapshot = Snapshot.read(connection)
        found = [*_database(connection)]
    for study in snapshot.studies:
        found += [f"study {study.name}: {words}" for words in _study(snapshot, study, is_quiet=is_quiet)]
    if folder is not None:
        found += _files(snapshot, folder, is_quiet=is_quiet)
    return found


def _study(snapshot: Snapshot, study: Any, *, is_quiet: bool) -> Iterator[str]:
    spec = StudySpec.model_validate_json(study.spec)
    trials = snapshot.trials[study.study_id]
    leases = snapshot.leases[study.uuid]
    yield from _numbers(study, spec, trials)
    yield from _rungs(spec, trials)
    yield from _ends(study, trials, leases, is_quiet=is_quiet)
    yield from _leases(snapshot, study, spec, trials, leases)
    for trial in trials:
        yield from (f"trial {trial.number}: {words}" for words in _trial(snapshot, study, spec, trial))
    yield from _attempts(snapshot, study)
    yield from _sent_checkpoints(snapshot, study, trials, is_quiet=is_quiet)
    yield from _confirmation(snapshot, study, spec)
    yield from _events(snapshot, study, trials)


def _numbers(study: Any, spec: StudySpec, trials: list[TrialRow]) -> Iterator[str]:
    numbers = [trial.number for trial in trials]
    if numbers != list(range(len(numbers))):
        yield f"I1 trial numbers are {numbers}"
    if len(numbers) > spec.n_trials:
        yield f"I1 {len(numbers)} trials, but n_trials is {spec.n_trials}"
    ended_early = study.state != "complete" or spec.target_value is not None or spec.timeout_seconds is not None
    if study.state in ENDED and not ended_early and spec.sampler.name != "grid" and len(numbers) < spec.n_trials:
        stopped = any(trial.failure_class == "cancelled" for trial in trials)
        if not stopped and not study.was_stopped:
            yield f"I1 complete with {len(numbers)} trials of {spec.n_trials}"


def _rungs(spec: StudySpec, trials: list[TrialRow]) -> Iterator[str]:
    """At most one of ``eta`` is promoted from a rung, until all trials have begun and the best go on all the same."""
    if not isinstance(spec.pruner, RungsPruner) or len(trials) >= spec.n_trials:
        return
    for rung in range(max((trial.n_promoted for trial in trials), default=0)):
        n_reached = sum(str(rung) in trial.reached for trial in trials)
        n_promoted = sum(trial.n_promoted > rung and not _has_skipped_a_rung(trial) for trial in trials)
        if n_promoted > n_reached // spec.pruner.options.eta:
            yield f"I6 {n_promoted} of {n_reached} trials were promoted from rung {rung}"


def _has_skipped_a_rung(trial: TrialRow) -> bool:
    """Whether the trial's worker did not evaluate at a rung below another, or did so only when it trained anew."""
    in_order = [str(rung) for rung in range(len(trial.reached))]
    return sorted(trial.reached, key=lambda rung: (trial.reached[rung][1], int(rung))) != in_order


def _ends(study: Any, trials: list[TrialRow], leases: list[Row[Any]], *, is_quiet: bool) -> Iterator[str]:
    if is_quiet and study.state not in ENDED:
        yield f"I12 has not ended: {study.state}"
    if study.state not in ENDED:
        if study.finished_at is not None:
            yield "I2 is finished_at, but goes on"
        return
    if study.finished_at is None:
        yield "I2 has ended without finished_at"
    if leases:
        yield f"I2 has ended with {len(leases)} live leases"
    open_ones = [trial.number for trial in trials if trial.state in ("WAITING", "RUNNING")]
    if open_ones:
        yield f"I2 has ended, but trials {open_ones} have not"


def _leases(
    snapshot: Snapshot, study: Any, spec: StudySpec, trials: list[TrialRow], leases: list[Row[Any]]
) -> Iterator[str]:
    held = [lease.number for lease in leases if lease.kind == "trial"]
    if len(held) != len(set(held)):
        yield f"I4 several leases for one trial: {held}"
    if spec.n_parallel is not None and len(held) > spec.n_parallel:
        yield f"I6 {len(held)} leased trials, n_parallel is {spec.n_parallel}"
    running = [trial.number for trial in trials if trial.state == "RUNNING"]
    if sorted(held) != running:
        yield f"I7 RUNNING are {running}, leased are {sorted(held)}"
    open_attempts = {row.lease_id for row in snapshot.attempts[study.uuid] if row.ended_at is None}
    if open_attempts != {lease.lease_id for lease in leases}:
        yield f"I4 {len(open_attempts)} open attempts, {len(leases)} live leases"
    alone = [lease.kind for lease in leases if lease.kind != "trial"]
    if alone and len(leases) > 1 and "prepare" in alone:
        yield f"I4 a prepare beside other leases: {[lease.kind for lease in leases]}"


def _trial(snapshot: Snapshot, study: Any, spec: StudySpec, trial: TrialRow) -> Iterator[str]:
    attempts = [row for row in snapshot.attempts[study.uuid] if row.kind == "trial" and row.number == trial.number]
    measured = snapshot.measurements[study.uuid, trial.number]
    if [row.attempt for row in attempts] != list(range(1, len(attempts) + 1)):
        yield f"I4 attempts are {[row.attempt for row in attempts]}"
    if trial.state != "RUNNING" and any(row.ended_at is None for row in attempts):
        yield f"I4 is {trial.state}, but an attempt goes on"
    results = [row for row in attempts if row.end in ("COMPLETE", "PRUNED")]
    if len(results) > 1:
        yield f"I3 {len(results)} accepted results"
    last = attempts[-1] if attempts else None
    if trial.state == "COMPLETE" and (last is None or last.end != "COMPLETE"):
        yield f"I3 is COMPLETE, its last attempt ended as {last and last.end}"
    if trial.state == "WAITING" and trial.pause is not None and (last is None or last.end != "paused"):
        yield f"I4 is paused, its last attempt ended as {last and last.end}"
    if len(trial.reached) > trial.n_promoted + 1:
        yield f"I6 has reached {len(trial.reached)} rungs and was promoted from {trial.n_promoted}"
    yield from _reports(trial, measured, last)
    yield from _value(spec, trial, [row for row in measured if last is not None and row.attempt == last.attempt])


def _reports(trial: TrialRow, measured: list[Row[Any]], last: Row[Any] | None) -> Iterator[str]:
    own = [row for row in measured if last is not None and row.attempt == last.attempt]
    if last is None and measured:
        yield f"I5 {len(measured)} reports, but no attempt"
    if trial.state in ("RUNNING", "COMPLETE", "PRUNED"):
        whole, partial = ({row.step: row.value for row in own if row.partial is one} for one in (False, True))
        if whole != trial.intermediate_values:
            yield f"I7 Optuna's intermediate values {trial.intermediate_values} are not the reported {whole}"
        if partial != trial.partial_values:
            yield f"I7 the values of a part {trial.partial_values} are not the reported {partial}"
    pruned = [row for row in measured if row.should_prune]
    if len(pruned) > 1:
        yield f"I9 pruned at several steps: {[row.step for row in pruned]}"
    if pruned and trial.state in ("COMPLETE", "WAITING"):
        yield f"I9 pruned at step {pruned[0].step}, but {trial.state}"
    if pruned and last is not None and pruned[0].attempt < last.attempt:
        yield f"I9 pruned in attempt {pruned[0].attempt}, but attempt {last.attempt} was begun"
    if trial.state == "COMPLETE" and trial.pause is not None:
        yield f"I9 is COMPLETE, but was told to pause at step {trial.pause['step']}"
    reported = trial.intermediate_values | trial.partial_values
    if trial.state == "WAITING" and trial.pause is not None and trial.pause["step"] not in reported:
        yield f"I7 is paused at step {trial.pause['step']}, of which nothing is stored"
    if trial.state == "PRUNED" and not pruned and trial.pause is None and trial.failure_class not in KEEPS_REPORTS:
        yield "I9 PRUNED without a decision"


def _value(spec: StudySpec, trial: TrialRow, own: list[Row[Any]]) -> Iterator[str]:
    if trial.value is not None and not math.isfinite(trial.value):
        yield f"I8 the value is {trial.value}"
    if trial.state in ("WAITING", "RUNNING", "FAIL") and trial.value is not None:
        yield f"I3 is {trial.state} with the value {trial.value}"
    if trial.state not in ("COMPLETE", "PRUNED"):
        return
    if not own:
        yield f"I3 is {trial.state} without a report"
        return
    values = {row.step: row.value for row in own if not row.partial}
    better = min if spec.direction == "minimize" else max
    if trial.state == "COMPLETE":
        expected = better(values.values(), default=None)
    else:
        expected = values[max(values)] if values else None
    if trial.value != expected:
        yield f"I7 the value is {trial.value!r}, the reports say {expected!r}"


def _attempts(snapshot: Snapshot, study: Any) -> Iterator[str]:
    counted: defaultdict[tuple[str, int], Counter[bool]] = defaultdict(Counter)
    for row in snapshot.attempts[study.uuid]:
        if row.end != "paused":
            counted[row.kind, row.number][row.is_counted] += 1
    for (kind, number), count in counted.items():
        # where the similarity could not be measured, one more probe times the steps
        most = 4 if kind == "probe" else 3
        if count[True] > most or count[False] > 10:
            yield f"I11 {kind} {number} had {count[True]} counted and {count[False]} uncounted attempts"
    tokens = [row.token for row in snapshot.attempts[study.uuid] if row.token is not None]
    tokens += [row.token for row in snapshot.leases[study.uuid]]
    if len(tokens) != len(set(tokens)):
        yield "I4 a token was given twice"


def _sent_checkpoints(snapshot: Snapshot, study: Any, trials: list[TrialRow], *, is_quiet: bool) -> Iterator[str]:
    """What is sent was written by an attempt that has paused, and goes once its trial has ended."""
    ends = {row.lease_id: row.end for row in snapshot.attempts[study.uuid]}
    for row in snapshot.sent_checkpoints:
        if row.study_uuid != study.uuid:
            continue
        if ends.get(row.lease_id) != "paused":
            yield f"I4 a checkpoint of trial {row.number} is sent whose attempt ended as {ends.get(row.lease_id)}"
        if is_quiet and trials[row.number].state not in ("WAITING", "RUNNING"):
            yield f"I13 a checkpoint of trial {row.number} is kept, which is {trials[row.number].state}"


def _confirmation(snapshot: Snapshot, study: Any, spec: StudySpec) -> Iterator[str]:
    """Each run under a fresh seed has come to one thing, and all of them were made unless the study was ended."""
    told = [row for row in snapshot.attempts[study.uuid] if row.kind == "confirm" and row.end == "COMPLETE"]
    runs = {row.number * MAX_SEEDS + row.seed: row for row in snapshot.confirm_runs[study.uuid]}
    if len({row.number for row in told}) != len(told):
        yield f"I3 several results of one run under a fresh seed: {sorted(row.number for row in told)}"
    if {row.number for row in told} != {number for number, row in runs.items() if row.value is not None}:
        yield f"I3 runs {sorted(row.number for row in told)} were accepted, {sorted(runs)} are stored"
    found = None if study.confirmation is None else Confirmation.model_validate_json(study.confirmation)
    if found is not None and (found.state == "complete") != (len(runs) == found.n_runs > 0):
        yield f"I3 {len(runs)} of {found.n_runs} runs have ended, and the confirmation is {found.state}"
    if spec.confirm is None or study.state not in ("complete", "cancelled"):
        return
    if found is None:
        yield "I12 has ended, and nobody says what became of its confirmation"
    elif found.searched_winner is not None and found.state != "complete" and not study.was_stopped:
        yield f"I12 has ended with {len(runs)} of {found.n_runs} runs under fresh seeds, and nobody has stopped it"


def _events(snapshot: Snapshot, study: Any, trials: list[TrialRow]) -> Iterator[str]:
    happened = snapshot.events[study.uuid]
    of_study = [row.payload["state"] for row in happened if row.kind == "study"]
    if of_study[-1:] != [study.state]:
        yield f"I16 the last event of the study says {of_study[-1:]}, it is {study.state}"
    told = {row.payload["number"]: row.payload["state"] for row in happened if row.kind == "trial"}
    for trial in trials:
        if told.get(trial.number) != trial.state:
            yield f"I16 the last event of trial {trial.number} says {told.get(trial.number)}, it is {trial.state}"


def _files(snapshot: Snapshot, folder: Path, *, is_quiet: bool) -> Iterator[str]:
    known = {row.lease_id for row in (*snapshot.artifacts, *snapshot.sent_checkpoints)}
    for row in snapshot.sent_checkpoints:
        path = folder / row.lease_id / "checkpoint"
        if row.sha256 is not None and not path.exists():
            yield f"I15 {path} is not there"
        elif row.sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
            yield f"I15 {path} is not what was sent"
    for row in snapshot.artifacts:
        path = folder / row.lease_id / row.file
        if row.is_visible and not path.exists():
            yield f"I15 {path} is not there"
        elif row.is_visible and hashlib.sha256(path.read_bytes()).hexdigest() != row.sha256:
            yield f"I15 {path} is not what was uploaded"
    if not is_quiet:
        return
    for path in folder.glob("*/*"):
        if path.parent.name not in known or path.name.startswith("."):
            yield f"I13 {path} is left over"
    hidden = [f"{row.lease_id}/{row.file}" for row in snapshot.artifacts if not row.is_visible]
    if hidden:
        yield f"I13 never shown and never removed: {hidden}"


def _database(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        answer = connection.execute(text("PRAGMA integrity_check")).scalar_one()
        if answer != "ok":
            yield f"I16 SQLite says {answer}"
    ids = set(connection.execute(select(optuna.studies.c.study_id)).scalars())
    ours_ids = set(connection.execute(select(ours.study_spec.c.study_id)).scalars())
    if not ours_ids <= ids:
        yield f"I7 studies {ours_ids - ids} are ours, but not in Optuna's tables"
    known = set(connection.execute(select(ours.study_spec.c.uuid)).scalars())
    for table in (ours.lease, ours.attempt, ours.measurement, ours.artifact, ours.sent_checkpoint):
        left = set(connection.execute(select(table.c.study_uuid)).scalars()) - known
        if left:
            yield f"I13 {table.name} has rows of studies that are gone"
