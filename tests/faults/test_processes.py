"""F01 to F06, F08 with real processes: a service is killed at each step, and its successor ends the study."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import httpx2
import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.files.folder_files import FolderFiles
from service.lifecycle.model_folders import remove_unused_folders
from service.lifecycle.workers.launched_workers import launch_worker
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia.client import Client, SpeziaError, Unreachable
from spezia.contract.assignments import Assignment, ConfirmAssignment, TrialAssignment
from spezia.contract.best_trial import BestTrial
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.protocol import (
    DispatchRequest,
    HeartbeatRequest,
    Release,
    Report,
    ReportReply,
    ReportRequest,
    WorkerRegistration,
)
from spezia.contract.study import Study
from spezia.contract.study_spec import StudySpec
from tests.faults import actors
from tests.faults.invariants import violations
from tests.faults.processes import Service, eventually, service_of
from tests.faults.test_failpoints import names
from tests.service.confirming import search
from tests.service.hand_worker import HandWorker, spec
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceRefused, ServiceUnavailable

SIGKILL = 9
Reply = TypeVar("Reply")
QUICK = ["dispatch.after_commit", "tell.before_commit"]
SENDING = [name for name in names() if name.startswith(("ask.", "checkpoint."))]
"""Failpoints by which only a checkpoint comes that is sent."""


class Mortal:
    """A service that is killed once, at the failpoint given, and what its clients do about it: insist."""

    def __init__(self, service: Service, failpoint: str, folder: Path) -> None:
        self.service = service
        self.n_deaths = 0
        self.people = Client(service.url)
        self.worker = ServiceClient(service.url)
        self._file = folder / "model.bin"
        self._file.write_bytes(actors.MODEL)
        self._start(f"{failpoint}=kill")

    def close(self) -> None:
        self.people.close()
        self.worker.close()

    def insist(self, call: Callable[[], Reply]) -> Reply:
        """Call until somebody answers; a service that was killed is started again."""
        while True:
            try:
                return call()
            except (Unreachable, ServiceUnavailable):
                self._mourn()

    def restart(self) -> None:
        """Kill the service, if it lives."""
        self.service.end()
        self._start("" if self.n_deaths else self._failpoints)

    def register(self, *, is_launched: bool = False) -> str:
        """A new worker; launched by the service, it ends with it."""
        worker_id = uuid4().hex
        if is_launched:
            note_launched(worker_id, self.service)
        registration = WorkerRegistration(
            worker_id=worker_id, host="here", device=actors.DEVICE, versions={}, protocol=1
        )
        self.insist(lambda: self.worker.register(registration))
        return worker_id

    def take(self, worker_id: str) -> Assignment:
        request = DispatchRequest(slots=1, wait_seconds=0.1, checkpoints=[])
        (assignment,) = self.insist(lambda: self.worker.dispatch(worker_id, request)).assignments
        return assignment

    def report(self, held: Assignment, value: float, *, final: bool = True) -> ReportReply:
        one = Report(
            lease_id=held.lease_id,
            token=held.token,
            step=1,
            epoch=1.0,
            optimizer_steps=10,
            value=value,
            metrics={},
            final=final,
        )
        return self.insist(lambda: self.worker.report(ReportRequest(reports=[one]))).replies[0]

    def carry_out(self, held: Assignment) -> None:
        if held.kind == "trial" and self.report(held, 0.5 - 0.1 * held.number).keep_model:
            self.insist(lambda: self.worker.upload(actors.held_by(held), self._file, "model.bin"))
        self.tell(held)

    def tell(self, held: Assignment) -> None:
        outcome = actors.result(held.kind, actors.STEADY)
        self.insist(lambda: self.worker.tell(actors.held_by(held), outcome))

    def _start(self, failpoints: str) -> None:
        self._failpoints = failpoints
        self.service.start(failpoints)
        if self.service.died_by() is not None:
            self._mourn()

    def _mourn(self) -> None:
        eventually(lambda: self.service.died_by())
        assert self.service.died_by() == SIGKILL
        self.n_deaths += 1
        assert self.n_deaths == 1
        self.service.end()
        self._start("")


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Service]:
    with service_of(tmp_path / "home", database_url) as service:
        yield service


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("failpoint", QUICK)
def test_f01_to_f06_a_service_killed_at_a_step_has_lost_nothing(
    failpoint: str, service: Service, tmp_path: Path
) -> None:
    die_at(failpoint, service, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", [name for name in names() if name not in SENDING])
def test_f01_to_f06_a_service_killed_at_any_step_has_lost_nothing(
    failpoint: str, service: Service, tmp_path: Path
) -> None:
    die_at(failpoint, service, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", SENDING)
def test_a_service_killed_while_a_checkpoint_is_sent_passes_it_on(
    failpoint: str, service: Service, tmp_path: Path
) -> None:
    mortal = Mortal(service, failpoint, tmp_path)
    try:
        paused, promoted = send_checkpoint(mortal)
        received = tmp_path / "received"
        mortal.insist(lambda: mortal.worker.fetch_checkpoint(actors.held_by(promoted), received))
    finally:
        mortal.close()
    assert isinstance(promoted, TrialAssignment)
    assert promoted.resume is not None
    assert (promoted.number, promoted.resume.step) == (paused.number, 1)
    assert received.read_bytes() == actors.checkpoint_of(paused.number, 1)
    assert mortal.n_deaths == 1, "nobody comes by here"


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", ["dispatch.after_commit", "tell.before_commit", "tell.after_commit"])
def test_a_service_killed_while_a_winner_is_confirmed_has_lost_nothing(
    failpoint: str, service: Service, tmp_path: Path
) -> None:
    with TestClient(create_app(service.settings), base_url="http://127.0.0.1") as http:
        search(http, HandWorker(http), 0.9, 0.4)
    mortal = Mortal(service, failpoint, tmp_path)
    try:
        lost = mortal.take(mortal.register(is_launched=True))
        mortal.restart()
        second, done = mortal.register(), []
        while mortal.insist(lambda: mortal.people.get_study("feedback")).finished_at is None:
            done.append(mortal.take(second))
            mortal.tell(done[-1])
        best = mortal.people.best("feedback")
        check(service)
    finally:
        mortal.close()
    assert mortal.n_deaths == 1
    assert isinstance(best, BestTrial)
    assert best.confirmation is not None
    assert (best.confirmation.state, len(best.confirmation.runs)) == ("complete", 6)
    # six runs, of which the lost one was begun again
    attempts = [(held.number, held.fresh_seed, held.attempt) for held in done if isinstance(held, ConfirmAssignment)]
    assert isinstance(lost, ConfirmAssignment)
    assert (lost.number, lost.fresh_seed, lost.attempt + 1) in attempts
    assert len(set(attempts)) == 6


def die_at(failpoint: str, service: Service, folder: Path) -> None:
    mortal = Mortal(service, failpoint, folder)
    try:
        study = whole_protocol(mortal)
        assert (study.state, study.trials.complete, study.n_finished) == ("complete", 2, 2)
        check(service)
        delete(mortal, study.name)
        check(service)
    finally:
        mortal.close()
    assert mortal.n_deaths == 1, "nobody comes by here"


def whole_protocol(mortal: Mortal) -> Study:
    """Make each call of the protocol; in the middle the service and its worker end."""
    wanted = StudySpec.model_validate(spec(name="whole", data={"train": "a.csv", "test": "b.csv"}, n_trials=2))
    mortal.insist(lambda: mortal.people.create_study(wanted))
    first = mortal.register()
    mortal.take(first)
    mortal.tell(mortal.take(first))  # the same, handed out again
    given_back = mortal.take(first)
    release(mortal, given_back, Release(reason="preempted"))
    lost = mortal.take(mortal.register(is_launched=True))
    mortal.insist(lambda: mortal.worker.heartbeat(HeartbeatRequest(leases=[actors.held_by(lost)])))
    mortal.report(lost, 0.5)
    mortal.restart()
    second = mortal.register()
    while mortal.insist(lambda: mortal.people.get_study("whole")).finished_at is None:
        mortal.carry_out(mortal.take(second))
    return mortal.people.get_study("whole")


def send_checkpoint(mortal: Mortal) -> tuple[Assignment, Assignment]:
    """Let a trial be paused by one worker, and go on with another one, to which its checkpoint is sent.

    Returns:
        The trial as the first worker had it, and as the second has it now.
    """
    rungs = {"name": "rungs", "options": {"eta": 2, "first": 1, "top": 1}}
    wanted = StudySpec.model_validate(spec(name="sent", pruner=rungs, fixed={"epochs": 4}, n_trials=3))
    mortal.insist(lambda: mortal.people.create_study(wanted))
    holder, other = mortal.register(), mortal.register()
    mortal.tell(mortal.take(holder))
    paused = pause(mortal, holder, 0.5)
    busy_with = mortal.take(holder)
    pause(mortal, other, 0.6)
    nothing_yet = DispatchRequest(slots=1, wait_seconds=0.1, checkpoints=[])
    assert mortal.insist(lambda: mortal.worker.dispatch(other, nothing_yet)).assignments == []
    beat = HeartbeatRequest(leases=[actors.held_by(busy_with)])
    (asked_for,) = mortal.insist(lambda: mortal.worker.heartbeat(beat)).checkpoints
    content = actors.checkpoint_of(paused.number, asked_for.attempt)
    try:
        mortal.insist(lambda: mortal.worker.upload_checkpoint(asked_for, [content]))
    except ServiceRefused:
        assert mortal.n_deaths == 1, "only who was killed after its commit has sent this before"
    return paused, mortal.take(other)


def pause(mortal: Mortal, worker_id: str, value: float) -> Assignment:
    """Take a trial to its first rung and pause it there."""
    held = mortal.take(worker_id)
    mortal.report(held, value, final=False)
    speed = TrialSpeed(seconds_per_epoch=actors.SECONDS_PER_EPOCH)
    release(mortal, held, Release(reason="paused", speed=speed))
    return held


def release(mortal: Mortal, held: Assignment, given_back: Release) -> None:
    try:
        mortal.insist(lambda: mortal.worker.release(actors.held_by(held), given_back))
    except LeaseLost:
        assert mortal.n_deaths == 1, "only who was killed after its commit has heard this before"


def delete(mortal: Mortal, name: str) -> None:
    before = mortal.n_deaths
    try:
        mortal.insist(lambda: mortal.people.delete(name))
    except SpeziaError:
        assert mortal.n_deaths > before, "only who was killed after its commit has heard this before"


def note_launched(worker_id: str, service: Service) -> None:
    engine = open_engine(service.settings.database)
    launch_worker(
        Store(engine, DatabaseClock()), worker_id, f"{socket.gethostname()}:{service.settings.home.absolute()}"
    )
    engine.dispose()


def check(service: Service) -> None:
    engine = open_engine(service.settings.database)
    remove_unused_folders(Store(engine, DatabaseClock()), FolderFiles(service.settings.files))
    found = violations(engine, service.settings.files / "artifacts", is_quiet=True)
    engine.dispose()
    assert found == []
    assert httpx2.get(f"{service.url}/healthz", timeout=30).is_success
