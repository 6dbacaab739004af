"""Replays a search in virtual time: workers that ask for trials, report evaluations and are told to go on or not.

Time is counted in trials of the longest kind: such a trial takes 1 to train and to evaluate, apart from its start.
"""

import heapq
import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from replay.task import Params, ReplayTask

Answer = Literal["go on", "stop", "pause"]


@dataclass(frozen=True)
class Work:
    """A trial that a worker begins or goes on with."""

    trial: Hashable
    """The method's own name for it, the same whenever it goes on."""
    params: Params
    step: int = 0
    """Evaluations that its checkpoint has behind it; 0: it starts from the pretrained model."""
    evaluate_at: frozenset[int] | None = None
    """The only evaluations that are made; ``None``: all of them are."""


class Method(Protocol):
    """A way to search."""

    def ask(self, worker: int, now: float) -> Work | None:
        """Return what ``worker`` does next; ``None``: nothing until another one has reported."""

    def report(self, trial: Hashable, step: int, value: float, now: float, *, is_last: bool) -> Answer:
        """Take note of an evaluation, counted from 1; what is answered to the last one is not heeded."""

    def end(self, trial: Hashable, now: float, *, diverged: bool) -> None:
        """Take note that a trial has come to its end, or that its loss is no longer finite."""


@dataclass(frozen=True)
class Costs:
    """What is paid besides training, in trials of the longest kind."""

    start: float
    """To make a trial's model, whether it begins or goes on."""
    save: float
    """To write a checkpoint at a pause."""
    load: float
    """To go on from one."""


@dataclass(frozen=True)
class Found:
    """What became of one search."""

    cost: float
    """Time of all workers, busy or not, until the target was reached, or the whole budget."""
    reached: bool
    """Whether it was."""
    best: float
    """The best value seen by then."""
    best_complete: float
    """The best value of a trial that was carried out to its end by then."""
    n_trials: int
    """Trials begun."""


@dataclass(order=True)
class _Event:
    at: float
    nth: int
    worker: int = field(compare=False)
    work: Work | None = field(compare=False)
    """The trial whose next evaluation is made now; ``None``: the worker is free."""
    curve: Sequence[float] = field(compare=False, default=())
    step: int = field(compare=False, default=0)


def simulate(task: ReplayTask, method: Method, *, workers: int, budget: float, target: float, costs: Costs) -> Found:
    """Search until a value of at most ``target`` was reported, or the workers have been paid ``budget``."""
    one_step = 1 / task.longest
    events = [_Event(0.0, worker, worker, None) for worker in range(workers)]
    order = itertools.count(workers)
    idle: list[int] = []
    best, best_complete, n_trials, now = math.inf, math.inf, 0, 0.0
    best_of: dict[Hashable, float] = {}

    def later(at: float, worker: int, work: Work | None = None, curve: Sequence[float] = (), step: int = 0) -> None:
        heapq.heappush(events, _Event(at, next(order), worker, work, curve, step))

    while events:
        event = heapq.heappop(events)
        now, worker, work = event.at, event.worker, event.work
        if now * workers >= budget:
            return Found(budget, False, best, best_complete, n_trials)
        if work is None:
            begun = method.ask(worker, now)
            if begun is None:
                idle.append(worker)
                continue
            n_trials += not begun.step
            start = costs.start + (costs.load if begun.step else 0.0)
            later(now + start + one_step, worker, begun, task.curve(begun.params), begun.step + 1)
            continue
        answer: Answer = "stop"
        if event.step > len(event.curve):
            method.end(work.trial, now, diverged=True)
        elif work.evaluate_at is not None and event.step not in work.evaluate_at:
            answer = "go on"
        else:
            value = event.curve[event.step - 1]
            best = min(best, value)
            best_of[work.trial] = min(value, best_of.get(work.trial, math.inf))
            if best <= target:
                return Found(now * workers, True, best, best_complete, n_trials)
            is_last = event.step == task.n_evaluations(work.params)
            answer = method.report(work.trial, event.step, value, now, is_last=is_last)
            if is_last:
                method.end(work.trial, now, diverged=False)
                best_complete = min(best_complete, best_of[work.trial])
                answer = "stop"
        if answer == "go on":
            later(now + one_step, worker, work, event.curve, event.step + 1)
        else:
            later(now + (costs.save if answer == "pause" else 0.0), worker)
        for free in idle:  # what was reported may have given them something to do
            later(now, free)
        idle.clear()
    return Found(now * workers, False, best, best_complete, n_trials)
