"""A search under faults, decided by a seed: who moves next, what is lost, late, or twice, and when the service dies.

Time is the fake clock's; the functions are the real ones; a seed that fails fails again.
"""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.errors import StudyEnded
from service.failpoints import armed
from service.lifecycle.model_folders import remove_unused_folders
from service.lifecycle.studies.state_machine import cancel, pause, resume, stop
from spezia.contract.protocol import HeartbeatReply, HeldLease, WantedCheckpoint
from tests.faults import actors
from tests.faults.invariants import ENDED
from tests.faults.world import Request, Service, World

MAX_ROUNDS = 400
"""Of the quiet time after all faults; a study that has not ended by then never will."""

RUNGS = {"name": "rungs", "options": {"eta": 2, "first": 1, "top": 1}}
"""The pruner of every other seed: with three epochs, rungs at steps 1 and 2."""

IN_PART = {
    "pruner": {"name": "rungs", "options": {"eta": 2, "first": 1, "top": 1, "validation_share": 0.25}},
    "fixed": {"epochs": 2},
    "training": {"evaluations_per_epoch": 3},
}
"""The spec of every third of these: rungs at steps 1, 2 and 4, of which 1 and 2 read a part of the rows."""

FATES = {
    "arrives": 60,
    "is lost": 5,
    "reply is lost": 8,
    "comes late": 7,
    "comes twice": 12,
    "kills the service": 6,
    "is rolled back": 12,
}
EVENTS = {
    "work": 80,
    "deliver_late": 12,
    "beat": 12,
    "time": 9,
    "reap": 9,
    "restart": 2,
    "death": 2,
    "pause": 3,
    "control": 2,
    "jump": 1,
}


@dataclass
class Actor:
    """A worker process."""

    life: actors.Life
    request: Request
    held: HeldLease | None = None
    is_stopped: bool = False


class Simulation:
    """One study, two to four workers that share no checkpoints, one or two services."""

    def __init__(self, world: World, seed: int, n_trials: int = 3, *, sends: bool = False) -> None:
        """
        Args:
            sends: Whether the workers send each other checkpoints of trials that pause at rungs.
        """
        self.world = world
        self._chance = random.Random(seed)
        self._late: list[Request] = []
        self._sends = sends
        self._wanted: list[WantedCheckpoint] = []
        self._held: list[HeldLease] = []
        self._n_trials = n_trials
        self._name = world.create(self._spec(seed))
        self._actors = [self._new_actor() for _ in range(self._chance.randint(2, 4))]
        self._is_alone = False
        """No other service acts in the middle of a call."""
        if self._chance.random() < 0.8:
            self._prepare()

    def run(self, n_events: int) -> list[str]:
        """Let ``n_events`` happen, then let all faults end; return what was wrong."""
        for _ in range(n_events):
            kind = self._choose(EVENTS)
            getattr(self, f"_{kind}")()
            if self._sends:
                self._send(self._actors)
            if self.world.complaints:
                return self.world.complaints
        self.world.check()
        self._calm_down()
        remove_unused_folders(self.world.services[0].store, self.world.files)
        self.world.check(is_quiet=True)
        return self.world.complaints

    def _spec(self, seed: int) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "name": f"study-{seed}",
            "task": "text-classification",
            "model": {"name": "some/model"},
            "data": {"train": "train.csv", "test": "test.csv" if self._chance.random() < 0.3 else None},
            "search_space": {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3}},
            "sampler": {"name": "random"},
            "pruner": {"name": "median", "options": {"n_startup_trials": 1}},
            "n_trials": self._n_trials,
            "baseline": self._chance.random() < 0.5,
        }
        if seed % 2 or self._sends:
            spec |= {"pruner": RUNGS, "fixed": {"epochs": 3}}
        if seed % 6 == 3:
            spec |= IN_PART
        if seed % 7 == 2:
            spec |= {"confirm": {"top": 1, "seeds": 2}, "baseline": True}
        return spec | ({"n_parallel": 1} if self._chance.random() < 0.2 else {})

    def _prepare(self) -> None:
        """Most studies get to their trials in peace."""
        self._is_alone = True
        for actor in (*self._actors, self._actors[0], self._actors[0]):
            self._step(actor, "arrives")  # all register; the first gets the `prepare` and tells its facts
        self._is_alone = False

    # what may happen

    def _work(self) -> None:
        awake = [actor for actor in self._actors if not actor.is_stopped]
        if awake:
            actor = self._chance.choice(awake)
            # of all calls a tell does most in one transaction
            is_worst = actor.request.verb == "tell" and self._chance.random() < 0.2
            self._step(actor, "is rolled back" if is_worst else self._choose(FATES))

    def _step(self, actor: Actor, fate: str) -> None:
        request, reply = actor.request, None
        if fate == "kills the service":
            point = "after_commit" if self._chance.random() < 0.5 else "before_commit"
            reply = self._deliver(request, fault=f"{request.verb}.{point}")
        elif fate == "is rolled back":
            reply = self._deliver(request, fault=f"{request.verb}.before_commit", is_deadly=False)
        elif fate == "comes late":
            self._late.append(request)
        elif fate != "is lost":
            reply = self._deliver(request)
            if fate == "comes twice":
                again = self._deliver(request)
                reply = self._chance.choice([reply, again])
            if fate == "reply is lost":
                reply = None
        actor.request = actor.life.send(reply)

    def _deliver_late(self) -> None:
        if self._late:
            self._deliver(self._late.pop(self._chance.randrange(len(self._late))))

    def _beat(self) -> None:
        # of leases that are held, or were: a heartbeat may be as late as anything
        if self._held:
            self._deliver(actors.beating(self._chance.choice(self._held[-6:])))

    def _send(self, living: list[Actor]) -> None:
        """Let one of them hear which of its checkpoints are wanted, and somebody send one that is, or was."""
        held = [actor.held for actor in living if actor.held is not None and not actor.is_stopped]
        reply = self._deliver(actors.beating(self._choose_from(held))) if held else None
        if isinstance(reply, HeartbeatReply):
            self._wanted += reply.checkpoints
        if not self._wanted or self._chance.random() < 0.5:
            return
        request, fate = actors.sending(self._choose_from(self._wanted[-4:])), self._choose(FATES)
        if fate in ("kills the service", "is rolled back"):
            self._deliver(request, fault="checkpoint.before_commit", is_deadly=fate == "kills the service")
        elif fate == "comes late":
            self._late.append(request)
        elif fate != "is lost":
            self._deliver(request)
            if fate == "comes twice":
                self._deliver(request)

    def _time(self) -> None:
        self.world.clock.advance(self._chance.choice([0.5, 10.0, 15.0, 30.0, 44.0, 91.0]))

    def _reap(self) -> None:
        service = self._service()
        for _ in range(self._chance.choice([1, 1, 7])):
            self.world.clock.advance(15.0)
            self.world.reap(service, self._interlude)

    def _interlude(self) -> None:
        """Somebody thought dead is heard of again before the reaper comes to it."""
        expired = self.world.expired()
        for actor in self._actors:
            if actor.held is not None and actor.held.lease_id in expired and self._chance.random() < 0.5:
                self._deliver(actors.beating(actor.held))

    def _restart(self) -> None:
        self._service().restart()

    def _death(self) -> None:
        self._actors[self._chance.randrange(len(self._actors))] = self._new_actor()

    def _pause(self) -> None:
        actor = self._chance.choice(self._actors)
        actor.is_stopped = not actor.is_stopped

    def _control(self) -> None:
        # a study that is ended early has hardly a promotion
        ends = [] if self._sends else [stop, cancel]
        verb: Callable[..., None] = self._choose_from([pause, resume, pause, resume, *ends])
        with suppress(StudyEnded):
            verb(self._service().store, self._name)

    def _jump(self) -> None:
        self.world.clock.advance(self._chance.choice([-3600.0, 3600.0, -20.0]))

    # the end of all faults

    def _calm_down(self) -> None:
        self._is_alone = True
        store = self.world.services[0].store
        for request in self._late:
            self._deliver(request)
        self._late.clear()
        if self.world.state_of(self._name) == "paused":
            resume(store, self._name)
        # two work on; what the others hold has to be taken from them
        working = self._actors[:2]
        for _ in range(MAX_ROUNDS):
            if self.world.state_of(self._name) in ENDED:
                return
            for actor in working:
                self._step(actor, "arrives")
            if self._sends:
                self._send(working)
            self.world.clock.advance(15.0)
            self.world.reap(self.world.services[0])

    # helpers

    def _deliver(self, request: Request, fault: str | None = None, *, is_deadly: bool = True) -> Any:
        service = self._service()
        others = [other for other in self.world.services if other is not service]
        with self._meanwhile(others):
            return self.world.deliver(request, service, fault, is_deadly=is_deadly)

    def _meanwhile(self, others: list[Service]) -> AbstractContextManager[None]:
        """Now and then another service hands out a trial while this one thinks of a proposal."""
        if self._is_alone or not others or self._chance.random() < 0.5:
            return nullcontext()
        return armed("dispatch.after_propose", lambda: self._elsewhere(others[0]))

    def _elsewhere(self, service: Service) -> None:
        if self._is_alone:
            return
        self._is_alone = True
        waiting = [actor for actor in self._actors if actor.request.verb == "dispatch" and not actor.is_stopped]
        if waiting:
            # its reply never comes: it will ask again
            self.world.deliver(self._chance.choice(waiting).request, service)
        self._is_alone = False

    def _service(self) -> Service:
        return self._chance.choice(self.world.services)

    def _new_actor(self) -> Actor:
        worker_id = UUID(int=self._chance.getrandbits(128)).hex
        life = actors.worker(worker_id, self._chance, lambda held: self._hold(actor, held))
        actor = Actor(life, next(life))
        return actor

    def _hold(self, actor: Actor, held: HeldLease | None) -> None:
        actor.held = held
        if held is not None:
            self._held.append(held)

    def _choose(self, weights: dict[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]

    def _choose_from(self, options: list[Any]) -> Any:
        return self._chance.choice(options)
