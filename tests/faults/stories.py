"""Short scenarios, spelt out: a study with one trial that a worker holds, and helpers to go on from there."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from service.failpoints import armed
from spezia.contract.assignments import Assignment
from tests.faults import actors
from tests.faults.world import Request, World
from tests.service.hand_worker import spec

PATIENCE_SECONDS = 10.0
"""For what another thread does at once."""


class Story:
    """One study on a world, and the replies of its service to a worker whose every word is spelt out."""

    def __init__(self, world: World, **changes: Any) -> None:
        self.world = world
        self.name = world.create(spec(name=f"story-{uuid4().hex[:8]}", **changes))
        self.worker_id = self.new_worker()

    def new_worker(self) -> str:
        worker_id = uuid4().hex
        self.ask(actors.registering(worker_id))
        return worker_id

    def ask(self, request: Request, service: int = 0, fault: str | None = None) -> Any:
        return self.world.deliver(request, self.world.services[service], fault)

    def take(self, worker_id: str | None = None, service: int = 0) -> Assignment:
        """One assignment; there must be one."""
        (assignment,) = self.ask(actors.asking(worker_id or self.worker_id), service)
        found: Assignment = assignment
        return found

    def prepare(self) -> None:
        assignment = self.take()
        assert assignment.kind == "prepare"
        self.tell(assignment)

    def begin(self) -> Assignment:
        """Prepare the study, take a trial and report once."""
        self.prepare()
        held = self.take()
        self.report(held, 1, 0.5)
        return held

    def report(self, held: Assignment, step: int, value: float, *, final: bool = False) -> Any:
        reply = self.ask(actors.reporting(held, step, value, final=final))
        return reply[0] if isinstance(reply, list) else reply

    def tell(self, held: Assignment, **ending: Any) -> Any:
        return self.ask(actors.telling(held, actors.result(held.kind, actors.STEADY, **ending)))

    def beat(self, held: Assignment) -> str:
        reply = self.ask(actors.beating(actors.held_by(held)))
        return str(reply.leases[0].directive)

    def live(self, seconds: float) -> None:
        """Let time pass in which the service lives and reaps."""
        while seconds > 0:
            self.world.clock.advance(min(seconds, 15.0))
            seconds -= 15.0
            self.world.reap(self.world.services[0])

    def finish(self) -> None:
        """Let two workers run what is left of the study."""
        working = [self.new_worker(), self.new_worker()]
        for _ in range(100):
            if self.world.state_of(self.name) in ("complete", "cancelled", "failed"):
                return
            for worker_id in working:
                for assignment in self.ask(actors.asking(worker_id)):
                    self.carry_out(assignment)
            self.live(30.0)
        raise AssertionError("the study does not end")

    def carry_out(self, held: Assignment) -> None:
        """Run an assignment to its good end, in one step."""
        if held.kind == "trial" and self.report(held, 1, 0.5 - 0.01 * held.number, final=True).keep_model:
            self.ask(actors.uploading(held, "model.bin"))
        self.tell(held)

    def holds(self) -> None:
        """Assert that nothing was wrong, so far."""
        self.world.check()
        assert self.world.complaints == [], self.world.complaints


def once(action: Callable[[], Any]) -> Callable[[], None]:
    """For a failpoint: act the first time only; what ``action`` does may come by there itself."""
    is_done: list[bool] = []

    def act() -> None:
        if not is_done:
            is_done.append(True)
            action()

    return act


def while_it_waits(story: Story, request: Request, action: Callable[[], Any]) -> Any:
    """Answer ``request``, where ``action`` hands its lease out again while it waits for the study's lock.

    On PostgreSQL only: SQLite lets nobody in before the other has committed.
    """
    has_lock, may_commit = threading.Event(), threading.Event()

    def stand_still() -> None:
        has_lock.set()
        assert may_commit.wait(PATIENCE_SECONDS)

    with armed("dispatch.before_hand_out", once(stand_still)), ThreadPoolExecutor(2) as threads:
        first = threads.submit(action)
        assert has_lock.wait(PATIENCE_SECONDS)
        second = threads.submit(request.call, story.world.services[0])
        wait_until_one_waits(story.world.engine)
        may_commit.set()
        first.result()
        return second.result()


def wait_until_one_waits(engine: Engine) -> None:
    """Return once a transaction of PostgreSQL waits for the lock of another."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _n_waiting(engine):
        assert time.monotonic() < deadline


def _n_waiting(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one())
