"""Spezia by its own lifecycle, in virtual time: a real store, dispatch, report, release and tell, in this process."""

import shutil
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import uuid4

from replay.simulate import Answer, Work

from service.files.folder_files import FolderFiles
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.release import release
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.workers.register_worker import register_worker
from service.search.propose.proposer import Proposer
from service.store.sql.engine import open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.contract.assignments import TrialAssignment
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.outcomes import PreparedOutcome, TrialOutcome
from spezia.contract.protocol import PROTOCOL, Device, HeldCheckpoint, Release, Report, WorkerRegistration
from spezia.contract.study_spec import StudySpec

TRIAL_SECONDS = 60.0
"""Seconds on the service's clock that a trial of the longest kind takes, so that leases and their holders matter as
little as they do where workers renew them."""


class VirtualClock:
    """Tells the time that it was set to, in trials of the longest kind since the start."""

    def __init__(self) -> None:
        self.passed = 0.0

    def asked_of(self, _database: str) -> None:
        """Not the database: time is virtual."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=TRIAL_SECONDS * self.passed)


class SpeziaService:
    """A study of ours in a database of its own. All workers reach all checkpoints, as in a shared folder."""

    def __init__(self, spec: StudySpec, facts: Facts, workers: int, folder: Path) -> None:
        """
        Args:
            folder: where the database lies. It must hold what ``make_template`` has made.
        """
        self._clock = VirtualClock()
        self._folder = folder
        self._database = folder / f"{uuid4().hex}.db"
        shutil.copy(folder / TEMPLATE, self._database)
        self._store = Store(open_engine(f"sqlite:///{self._database}"), self._clock)
        self._proposer = Proposer(self._store.metrics)
        self._workers = [self._registered() for _ in range(workers)]
        self._held: dict[Hashable, TrialAssignment] = {}
        self._checkpoints: dict[int, HeldCheckpoint] = {}
        create_study(self._store, plan_study(spec))
        [prepare] = dispatch(self._store, self._proposer, self._workers[0], 1).assignments
        prepared = PreparedOutcome(kind="prepare", facts=facts, device_seconds=0.0)
        tell(self._store, self._proposer, FolderFiles(folder), prepare.lease_id, prepare.token, prepared)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._proposer.close()
        self._store.close()
        for file in self._folder.glob(f"{self._database.name}*"):
            file.unlink()

    def ask(self, worker: int, now: float) -> Work | None:
        self._clock.passed = now
        held = list(self._checkpoints.values())
        found = dispatch(self._store, self._proposer, self._workers[worker], 1, held).assignments
        if not found:
            return None
        [assignment] = found
        assert isinstance(assignment, TrialAssignment)
        self._held[assignment.number] = assignment
        step = assignment.resume.step if assignment.resume else 0
        evaluate_at = None if assignment.evaluate_at is None else frozenset(assignment.evaluate_at)
        return Work(assignment.number, assignment.params, step, evaluate_at)

    def report(self, trial: Hashable, step: int, value: float, now: float, *, is_last: bool) -> Answer:
        self._clock.passed = now
        own = self._held[trial]
        body = Report(
            lease_id=own.lease_id,
            token=own.token,
            step=step,
            epoch=step / own.spec.training.evaluations_per_epoch,
            optimizer_steps=step,
            value=value,
            metrics={"validation_loss": value, "train_loss": value},
            final=is_last,
        )
        [reply] = report(self._store, [body])
        if reply.directive == "pause":
            checkpoint = HeldCheckpoint(study_id=own.study_id, number=own.number, attempt=own.attempt, step=step)
            self._checkpoints[own.number] = checkpoint
            release(self._store, own.lease_id, own.token, Release(reason="paused"))
            return "pause"
        assert reply.directive == "continue", reply
        if not reply.should_prune:
            return "go on"
        self._tell(own, TrialOutcome(kind="trial", state="PRUNED", device_seconds=0.0))
        return "stop"

    def end(self, trial: Hashable, now: float, *, diverged: bool) -> None:
        self._clock.passed = now
        own = self._held[trial]
        failure = Failure(failure_class="diverged", message="the loss is not finite") if diverged else None
        state = "FAIL" if diverged else "COMPLETE"
        self._tell(own, TrialOutcome(kind="trial", state=state, failure=failure, device_seconds=0.0))

    def _tell(self, own: TrialAssignment, outcome: TrialOutcome) -> None:
        tell(self._store, self._proposer, FolderFiles(self._folder), own.lease_id, own.token, outcome)

    def _registered(self) -> str:
        worker_id = uuid4().hex
        device = Device(kind="cpu", name="cpu", memory_bytes=0, bf16=False)
        register_worker(
            self._store,
            WorkerRegistration(worker_id=worker_id, host="here", device=device, versions={}, protocol=PROTOCOL),
        )
        return worker_id


TEMPLATE = "template.db"


def make_template(folder: Path) -> None:
    """Make the empty database that every study begins as a copy of."""
    engine = open_engine(f"sqlite:///{folder / TEMPLATE}")
    migrate(engine)
    engine.dispose()
