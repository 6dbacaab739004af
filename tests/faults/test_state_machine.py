"""Hypothesis drives two workers, a clock, crashes and a second service process against a model of a few lines."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine

from service.errors import LeaseLost, OutcomeRefused, ReportConflict
from service.files.stored_file import ARTIFACTS
from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.leases.reap import reap_worker
from service.lifecycle.studies.state_machine import cancel
from spezia.contract.assignments import Assignment, TrialAssignment
from spezia.contract.protocol import Told
from tests.faults import actors
from tests.faults.simulation import IN_PART, RUNGS
from tests.faults.world import World
from tests.service.hand_worker import spec

TERM = timedelta(seconds=LEASE_SECONDS)
WORKERS = st.sampled_from([0, 1])
SERVICES = st.sampled_from([0, 1])
FAULTS = st.sampled_from([None, None, "before_commit", "after_commit"])


@dataclass
class Live:
    """What the model knows of a live lease."""

    token: str
    worker: int
    expires_at: datetime
    reported: dict[int, float]
    pauses_at: int | None = None
    """Step at which the trial was told to pause."""


class Leases(RuleBasedStateMachine):
    """A study whose trials two workers fight for; `given` holds assignments, good or stale."""

    engine: Engine
    folder: Path
    changes: Mapping[str, Any]
    """Of the study's spec."""
    given = Bundle("given")

    @initialize()
    def begin(self) -> None:
        self.world = World(self.engine, self.folder, n_services=2)
        self.name = self.world.create(spec(name=f"m-{uuid4().hex}", n_trials=4, **self.changes))
        self.workers = [uuid4().hex, uuid4().hex]
        for worker_id in self.workers:
            self.ask(actors.registering(worker_id))
        (prepare,) = self.ask(actors.asking(self.workers[0]))
        self.ask(actors.telling(prepare, actors.result("prepare", actors.STEADY)))
        self.live: dict[str, Live] = {}
        self.ended: dict[int, str] = {}

    @rule(target=given, worker=WORKERS, service=SERVICES, fault=FAULTS)
    def asks(self, worker: int, service: int, fault: str | None) -> Any:
        own = {lease_id for lease_id, live in self.live.items() if live.worker == worker}
        reply = self.ask(actors.asking(self.workers[worker]), service, "dispatch", None if own else fault)
        if reply is None:
            self.adopt(worker)
            return multiple()
        if not reply:
            assert not own
            return multiple()
        (held,) = reply
        assert not own or held.lease_id in own, "one's own trial comes first"
        before = self.live.get(held.lease_id)
        known = (before.reported, before.pauses_at) if before else ({}, None)
        self.live[held.lease_id] = Live(held.token, worker, self.now + TERM, *known)
        return held

    @rule(held=given, step=st.integers(1, 3), value=st.sampled_from([0.25, 0.5]), service=SERVICES, fault=FAULTS)
    def reports(self, held: Assignment, step: int, value: float, service: int, fault: str | None) -> None:
        live = self.owner(held)
        reply = self.ask(actors.reporting(held, step, value, final=False), service, "report", fault)
        if live is None:
            assert reply is None or reply[0].directive == "lost"
            return
        stands = live.reported.get(step, value)
        if isinstance(reply, ReportConflict):
            assert stands != value
            return
        if fault == "before_commit":
            return
        assert stands == value or reply is None
        if stands != value:
            return
        live.expires_at = self.now + TERM
        if reply is None:
            reply = self.ask(actors.reporting(held, step, value, final=False))  # it says the same again
        is_told = reply[0].directive == "pause"
        assert is_told == (live.pauses_at is not None and step >= live.pauses_at) or live.pauses_at is None
        if live.pauses_at is None or step <= live.pauses_at:
            live.reported[step] = value
        if is_told and live.pauses_at is None:
            live.pauses_at = step

    @rule(held=given, service=SERVICES, fault=FAULTS)
    def tells(self, held: Assignment, service: int, fault: str | None) -> None:
        live = self.owner(held)
        partial_at = held.partial_at if isinstance(held, TrialAssignment) else {}
        is_empty = live is not None and live.reported.keys() <= partial_at.keys()
        outcome = actors.result("trial", actors.STEADY, failure_class="exception" if is_empty else None)
        reply = self.ask(actors.telling(held, outcome), service, "tell", fault)
        number = getattr(held, "number", -1)
        if live is None:
            assert reply in (None, Told(replayed=True)) or isinstance(reply, LeaseLost | OutcomeRefused)
        elif live.pauses_at is not None and outcome.state == "COMPLETE":
            assert reply is None or isinstance(reply, OutcomeRefused)
        elif fault != "before_commit":
            assert reply is None or reply == Told(replayed=False)
            assert number not in self.ended, "a second result"
            self.ended[number] = outcome.state
            del self.live[held.lease_id]

    @rule(held=consumes(given), service=SERVICES)
    def releases(self, held: Assignment, service: int) -> None:
        live = self.owner(held)
        reply = self.ask(actors.releasing(held), service)
        assert isinstance(reply, LeaseLost) == (live is None)
        if live is not None:
            del self.live[held.lease_id]

    @rule(held=given, service=SERVICES)
    def beats(self, held: Assignment, service: int) -> None:
        live = self.owner(held)
        (status,) = self.ask(actors.beating(actors.held_by(held)), service).leases
        assert status.directive == ("lost" if live is None else "continue")
        if live is not None:
            live.expires_at = self.now + TERM

    @rule(rounds=st.integers(1, 7), service=SERVICES)
    def time_passes(self, rounds: int, service: int) -> None:
        for _ in range(rounds):
            self.world.clock.advance(15.0)
            self.world.reap(self.world.services[service])
            self.live = {lease_id: live for lease_id, live in self.live.items() if live.expires_at >= self.now}

    @rule(service=SERVICES)
    def a_service_restarts(self, service: int) -> None:
        self.world.services[service].restart()

    @invariant()
    def the_database_agrees(self) -> None:
        if not hasattr(self, "live"):
            return
        assert self.world.complaints == []
        assert self.world.tokens() == {lease_id: live.token for lease_id, live in self.live.items()}

    def teardown(self) -> None:
        if not hasattr(self, "live"):
            return
        self.world.check()
        # the next example shares the database, and must find no work here
        cancel(self.world.services[0].store, self.name)
        for worker_id in self.workers:
            reap_worker(self.world.services[0].store, worker_id)
        assert self.world.complaints == []

    @property
    def now(self) -> datetime:
        return self.world.clock.instant

    def owner(self, held: Assignment) -> Live | None:
        live = self.live.get(held.lease_id)
        return live if live is not None and live.token == held.token else None

    def ask(self, request: Any, service: int = 0, verb: str = "", fault: str | None = None) -> Any:
        return self.world.deliver(request, self.world.services[service], fault and f"{verb}.{fault}")

    def adopt(self, worker: int) -> None:
        """The reply was lost with the service: what was granted is the worker's all the same."""
        for lease_id, token in self.world.tokens().items():
            if lease_id not in self.live:
                self.live[lease_id] = Live(token, worker, self.now + TERM, {})


def drive(engine: Engine, changes: Mapping[str, Any], **limits: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = type("Machine", (Leases,), {"engine": engine, "folder": Path(folder) / ARTIFACTS, "changes": changes})
        quick = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **limits)
        run_state_machine_as_test(machine, settings=quick)


CHANGES: dict[str, dict[str, Any]] = {
    "no pruner": {},
    "rungs": {"pruner": RUNGS, "fixed": {"epochs": 4}},
    "rungs that read a part": IN_PART,
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_sequence_breaks_the_lease(engine: Engine) -> None:
    drive(engine, {}, max_examples=15, stateful_step_count=20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("changes", CHANGES)
def test_no_long_sequence_breaks_the_lease(engine: Engine, changes: str) -> None:
    drive(engine, CHANGES[changes], max_examples=60, stateful_step_count=50)
