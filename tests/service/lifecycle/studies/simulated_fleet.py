"""Workers whose trials take as long as a formula says, on a clock that jumps from one event to the next."""

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from spezia.contract.assignments import Assignment, TrialAssignment
from spezia.contract.failure import Failure
from spezia.contract.outcomes import TrialOutcome
from spezia.contract.study_spec import Params
from tests.faults import actors
from tests.faults.world import World

OVERSHOOT_SECONDS = 1.0
"""What a worker takes to notice that a trial's time is up, and to end it."""

CUT_OFF = Failure(failure_class="budget", message="the study's time was up before the trial ended")

Pace = Callable[[Params, int], float]
"""Seconds of one epoch of a trial, by its params and its number."""


@dataclass
class Fleet:
    """Workers that carry out all studies of a world as fast as ``pace`` lets them."""

    world: World
    pace: Pace
    n_workers: int
    used: list[tuple[int, float, bool]] = field(default_factory=list)
    """Of each trial its number, the seconds that it took, and whether it was cut off."""

    def work(self) -> None:
        """Work until there is nothing left to do."""
        lives = [self._live() for _ in range(self.n_workers)]
        order = itertools.count()
        due = [(0.0, next(order), life) for life in lives]
        began, idle = self.world.clock.instant, []
        while due:
            at, _, life = heapq.heappop(due)
            self.world.clock.advance(at - (self.world.clock.instant - began).total_seconds())
            seconds = next(life)
            if seconds is None:
                idle.append(life)
                continue
            heapq.heappush(due, (at + seconds, next(order), life))
            # something has changed: whoever waits asks again
            due += [(at, next(order), waiting) for waiting in idle]
            heapq.heapify(due)
            idle = []

    def _live(self) -> Generator[float | None]:
        """Yield how long the worker is busy with its next step; ``None`` when it found no work."""
        worker_id = uuid4().hex
        self._ask(actors.registering(worker_id))
        while True:
            assignments: list[Assignment] = self._ask(actors.asking(worker_id))
            if not assignments:
                yield None
            for held in assignments:
                if isinstance(held, TrialAssignment):
                    yield from self._carry_out(held)
                else:
                    self._ask(actors.telling(held, actors.result(held.kind, actors.STEADY)))
                    yield 0.0

    def _carry_out(self, held: TrialAssignment) -> Generator[float]:
        left = float("inf") if held.seconds_left is None else held.seconds_left
        epoch_seconds, used = self.pace(held.params, held.number), 0.0
        n_epochs = int(held.params["epochs"])
        outcome = None
        for step in range(1, n_epochs + 1):
            if used + epoch_seconds > left:
                yield left + OVERSHOOT_SECONDS - used
                used = left + OVERSHOOT_SECONDS
                state = "PRUNED" if step > 1 else "FAIL"
                outcome = TrialOutcome(kind="trial", state=state, failure=CUT_OFF, device_seconds=used)
                break
            yield epoch_seconds
            used += epoch_seconds
            (reply,) = self._ask(actors.reporting(held, step, 1.0 / step, final=step == n_epochs))
            if reply.should_prune:
                outcome = TrialOutcome(kind="trial", state="PRUNED", device_seconds=used)
                break
        self.used.append((held.number, used, outcome is not None and outcome.failure is not None))
        self._ask(actors.telling(held, outcome or TrialOutcome(kind="trial", state="COMPLETE", device_seconds=used)))
        yield 0.0

    def _ask(self, request: Any) -> Any:
        return self.world.deliver(request, self.world.services[0])
