"""Service processes on one database, in this process, and an account of who may write what.

Every call of a worker goes through `World.deliver`, which knows from plain SQL whose token is good and complains
when a stale write is accepted or leaves a trace, or when the holder of a good token is turned away.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, select, text

from service.errors import LeaseLost, OutcomeRefused, ServiceError
from service.failpoints import Injected, armed
from service.files.files import Files
from service.files.folder_files import FolderFiles
from service.files.stored_file import ARTIFACTS
from service.lifecycle.leases.next_step import next_step
from service.lifecycle.leases.reap import reap
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.optuna_private import id_of
from service.search.propose.proposer import Proposer
from service.search.pruning.curves import Curves
from service.search.pruning.rungs import RungCounts
from service.store import studies
from service.store.optuna import tables as optuna
from service.store.optuna.frozen import load_trials
from service.store.optuna.summaries import StateCounts
from service.store.sql import tables as ours
from service.store.sql.statements import Runner
from service.store.sql.tables import lease
from service.store.store import Store
from service.store.trials import FailureCounts
from service.store.work import studies_with_work
from spezia.contract.protocol import HeartbeatReply, ReportReply, Told
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.faults.invariants import violations
from tests.faults.snapshot import Snapshot
from tests.service.recounted import recounted, shown

GRACE_SECONDS = 45.0
"""Silence of the service after which it reaps nothing."""

_TOKENS = "SELECT lease_id, token FROM lease"
SUMMARIES = (Curves, FailureCounts, RungCounts, StateCounts)
_LAST_EVENTS = text(
    "SELECT study_id, max(sequence) AS sequence FROM study_spec JOIN event ON uuid = study_uuid GROUP BY study_id"
)
_STATE = text("SELECT state FROM study_spec JOIN studies USING (study_id) WHERE study_name = :name")


@dataclass
class Service:
    """One service process."""

    engine: Engine
    clock: FakeClock
    files: Files
    proposer: Proposer = field(init=False)
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.restart()
        self.proposer = Proposer(self.store.metrics)

    def restart(self) -> None:
        """Lose what a process knows."""
        self.store = Store(self.engine, self.clock)


@dataclass(frozen=True)
class Request:
    """What a worker asks, as often as it takes."""

    verb: str
    call: Callable[[Service], Any]
    lease_id: str | None = None
    token: str | None = None


def empty(engine: Engine, folder: Path) -> None:
    """Delete all studies, so that the next ones do not pay for them."""
    with engine.begin() as connection:
        for metadata in (ours.metadata, optuna.metadata):
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
    shutil.rmtree(folder, ignore_errors=True)


class World:
    def __init__(self, engine: Engine, folder: Path, n_services: int = 1) -> None:
        self.engine = engine
        self.folder = folder
        assert folder.name == ARTIFACTS
        self.files = FolderFiles(folder.parent)
        self.clock = FakeClock()
        self.services = [Service(engine, self.clock, self.files) for _ in range(n_services)]
        self.complaints: list[str] = []
        self._observer = Store(engine, self.clock)
        """Of a process that does nothing, so that what it reads is in no other one's cache."""
        self._tokens: set[str] = set()
        self._handed_out: set[str] = set()
        self._told: set[str | None] = set()
        self._live: dict[str, str] = {}
        self._answers: dict[tuple[str, int], ReportReply] = {}
        self._ended: dict[tuple[str, int], Any] = {}
        reap(self.services[0].store)  # the first beat; from now on silence is an outage
        self._alive_at = self.clock.instant

    def create(self, spec: dict[str, Any]) -> str:
        name, _ = create_study(self.services[0].store, plan_study(StudySpec.model_validate(spec)))
        return name

    def deliver(self, request: Request, service: Service, fault: str | None = None, *, is_deadly: bool = True) -> Any:
        """Carry out ``request``; ``None`` if no reply comes of it.

        Args:
            fault: A failpoint at which this call fails.
            is_deadly: The service dies of it.
        """
        before = self.tokens()
        is_stale = request.lease_id is not None and before.get(request.lease_id) != request.token
        trace = self._trace() if is_stale else None
        try:
            if fault is None:
                reply = request.call(service)
            else:
                with armed(fault, _die):
                    reply = request.call(service)
        except Injected:
            reply = None
            self._compare_cache(service)
            if is_deadly:
                service.restart()
        except ServiceError as error:
            reply = error
        self._judge(request, reply, is_stale=is_stale)
        if is_stale and isinstance(reply, Told) and not reply.replayed:
            self.complain("I3 a second result was accepted")
        if is_stale and trace != self._trace():
            self.complain(f"I5 a stale {request.verb} has changed something")
        self._note_tokens()
        return reply

    def reap(self, service: Service, interlude: Callable[[], None] = lambda: None) -> None:
        """One round of the reaper; ``interlude`` happens between its look and its deeds."""
        known = self._expiries()
        as_of, silence = self.clock.instant, (self.clock.instant - self._alive_at).total_seconds()

        def meanwhile() -> None:
            interlude()
            known.clear()
            known.update(self._expiries())

        self._alive_at = as_of
        with armed("reap.listed", meanwhile):
            reap(service.store)
        left = self._expiries()
        for lease_id, expires_at in known.items():
            is_due = expires_at < as_of and 0 <= silence <= GRACE_SECONDS
            if is_due and lease_id in left:
                self.complain("I12 an expired lease was not reaped")
            if not is_due and lease_id not in left:
                self.complain(f"I4 a lease was reaped {(expires_at - as_of).total_seconds()} s before its time")

    def expired(self) -> set[str]:
        """Ids of the leases that may be reaped."""
        return {lease_id for lease_id, expires_at in self._expiries().items() if expires_at < self.clock.instant}

    def tokens(self) -> dict[str, str]:
        """Lease id → token of every live lease."""
        with self.engine.connect() as connection:
            # asked twice a call: as plain text it costs a third
            return dict(connection.exec_driver_sql(_TOKENS).all())

    def state_of(self, study: str) -> str:
        with self.engine.connect() as connection:
            return str(connection.execute(_STATE, {"name": study}).scalar_one())

    def check(self, *, is_quiet: bool = False) -> None:
        """Complain about what the database says, and about results that are not what they were."""
        self.complaints += violations(self.engine, self.folder, is_quiet=is_quiet)
        with self.engine.connect() as connection:
            snapshot = Snapshot.read(connection)
        ended = {
            (study.uuid, trial.number): (trial.state, trial.value)
            for study in snapshot.studies
            for trial in snapshot.trials[study.study_id]
            if trial.state in ("COMPLETE", "PRUNED", "FAIL")
        }
        for key, was in self._ended.items():
            if ended.get(key) != was:
                self.complain(f"I3 trial {key[1]} was {was} and is {ended.get(key)}")
        self._ended = ended
        for service in self.services:
            self._compare_cache(service)
        self._look_for_work()
        self._recount()

    def complain(self, words: str) -> None:
        self.complaints.append(words)

    def _judge(self, request: Request, reply: Any, *, is_stale: bool) -> None:
        if request.verb == "tell" and not is_stale:
            self._told.add(request.token)
        if reply is None:
            return
        if request.verb == "dispatch" and isinstance(reply, list):
            tokens = {assignment.token for assignment in reply}
            if tokens & self._handed_out:
                self.complain("I4 a token was handed out twice")
            self._handed_out |= tokens
        if request.lease_id is None:
            return
        if request.token in self._told and isinstance(reply, Told | OutcomeRefused):
            return  # its own result of before, or another one than that
        if _is_lost(reply) != is_stale:
            whose = "stale" if is_stale else "good"
            self.complain(f"I5 {request.verb} with a {whose} token was answered {reply!r}")
        if isinstance(reply, list) and isinstance(reply[0], ReportReply) and not is_stale:
            self._compare_answers(request.lease_id, reply)

    def _compare_answers(self, lease_id: str, replies: list[ReportReply]) -> None:
        for reply in replies:
            first = self._answers.setdefault((lease_id, reply.step), reply)
            if (first.should_prune, first.reason, first.keep_model) != (
                reply.should_prune,
                reply.reason,
                reply.keep_model,
            ):
                self.complain(f"I10 step {reply.step} was answered {first!r}, and then {reply!r}")
            if {first.directive, reply.directive} == {"continue", "pause"}:
                self.complain(f"I10 step {reply.step} was told to {first.directive}, and then to {reply.directive}")

    def _note_tokens(self) -> None:
        live = self.tokens()
        given = {token for lease_id, token in live.items() if self._live.get(lease_id) != token}
        if given & self._tokens:
            self.complain("I4 a token was given twice")
        self._tokens |= given
        self._live = live

    def _trace(self) -> Any:
        """What a stale writer must not change, files included."""
        with self.engine.connect() as connection:
            snapshot = Snapshot.read(connection)
        files = sorted(str(path) for path in self.folder.glob("*/*"))
        return snapshot.trials, snapshot.leases, snapshot.attempts, snapshot.measurements, snapshot.artifacts, files

    def _expiries(self) -> dict[str, Any]:
        with self.engine.connect() as connection:
            rows = connection.execute(select(lease.c.lease_id, lease.c.expires_at))
            return {row.lease_id: row.expires_at for row in rows}

    def _look_for_work(self) -> None:
        """Complain about a study that has work which nobody finds who looks for some."""
        with self._observer.reading() as tx:
            found = {study_id for study_id, _ in tx.ask(studies_with_work(tx.about_now))}
            for study_id in tx.connection.execute(select(ours.study_spec.c.study_id)).scalars().all():
                study = tx.ask(studies.by_id(tx.caches.studies, study_id))
                step = None if study is None else next_step(tx, study, None)
                if step is not None and study_id not in found:
                    self.complain(f"I12 study {study_id} has work ({step}), and nobody finds it")

    def _recount(self) -> None:
        """Complain about a study that is shown with something else than its trials say."""
        with self._observer.reading() as tx:
            for uuid in tx.connection.execute(select(ours.study_spec.c.uuid)).scalars().all():
                study = studies.find_by_uuid(tx, uuid)
                if study is not None and shown(tx, study) != recounted(tx, study):
                    self.complain(f"I7 {shown(tx, study)} is shown of what is {recounted(tx, study)}")

    def _compare_cache(self, service: Service) -> None:
        """What a process keeps is so in the database: of finished trials at any time, of others until an event."""
        with self.engine.connect() as connection:
            last = {row.study_id: row.sequence for row in connection.execute(_LAST_EVENTS)}
            for study_id, revision in last.items():
                snapshot = service.store.caches.trials.get(study_id)
                if snapshot is None:
                    continue
                finished = [one for one in snapshot.trials if id_of(one) not in snapshot.unfinished]
                believed = snapshot.trials if revision == snapshot.revision else finished
                stored = load_trials(Runner(connection), [id_of(trial) for trial in believed])
                for trial in believed:
                    if stored.get(id_of(trial)) != trial:
                        self.complain(f"I7 a process believes {trial}; stored is {stored.get(id_of(trial))}")
                for kind in SUMMARIES:
                    kept = snapshot.summaries.of(kind, lambda these=finished: these)
                    if _plain(vars(kept)) != _plain(vars(kind().extended(finished))):
                        self.complain(f"I7 a process keeps {vars(kept)} of {finished}")


def _plain(value: Any) -> Any:
    """What equals another one whatever order its entries came in."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _is_lost(reply: Any) -> bool:
    if isinstance(reply, HeartbeatReply):
        return reply.leases[0].directive == "lost"
    if isinstance(reply, list):
        first = reply[0]
        assert isinstance(first, ReportReply)
        return first.directive == "lost"
    return isinstance(reply, LeaseLost)


def _die() -> None:
    raise Injected("the service dies here")
