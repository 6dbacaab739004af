"""Drives one assignment through the engine: from its hand-over to its ending. Imports no torch."""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spezia.contract.assignments import Assignment, ConfirmAssignment, SmallAssignment, TrialAssignment
from spezia.contract.failure import Failure
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.protocol import HeldLease, Report
from trainer.messages import Answer, Ended, Evaluated, Event, Failed, Found, Preempted, Stop, Training, Work
from trainer.supervisor.client import LeaseLost, ServiceRefused
from trainer.supervisor.ending import Ending
from trainer.supervisor.engine_process import Directed, EngineProcess, Gone, Terminating
from trainer.supervisor.retry import Retry
from trainer.supervisor.spool import Spool, Verdict
from trainer.supervisor.stall_detector import STALL_SECONDS, StallDetector

_LOOK_SECONDS = 1.0
"""Longest time between two looks at the clock."""
_HARMLESS = ("data_error", "config_error", "diverged", "lost")
"""Classes of failures after which an engine is as good as new."""
_NO_PAUSE = ("cancelled", "disk_full")
"""Classes of failures that end the attempt as they would without a pause; after any other, only the checkpoint of a
trial that is being paused is lost, since its evaluation has been reported."""

_LOG = logging.getLogger(__name__)


class Terminated(BaseException):
    """Somebody wants this process to end; raised by signal handlers, anywhere in the main thread."""


class Attempt:
    """One assignment on one engine. After anything that may have spoilt the engine, it is dead."""

    def __init__(
        self,
        assignment: Assignment,
        engine: EngineProcess,
        *,
        retry: Retry,
        spool: Spool,
        on_answer: Callable[[bool], None] = lambda _is_last: None,
        can_save: bool = False,
        stall_seconds: float = STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            on_answer: called while the engine goes on after an evaluation, and told whether the trial ends with it.
        """
        self.lease = HeldLease(lease_id=assignment.lease_id, token=assignment.token)
        self._assignment = assignment
        self._engine = engine
        self._retry = retry
        self._spool = spool
        self._on_answer = on_answer
        self._can_save = can_save and isinstance(assignment, TrialAssignment)
        self._is_over = False
        self._terminating: Terminating | None = None
        self._clock = clock
        self._stall_detector = StallDetector(stall_seconds=stall_seconds, clock=clock)
        self._started_at = clock()
        self._n_reports = 0
        self._speed: TrialSpeed | None = None
        if isinstance(assignment, TrialAssignment) and assignment.resume:
            self._n_reports = assignment.resume.step  # those of an earlier attempt count, too
        self._stopped_as: Ending | None = None
        self._is_pausing = False
        self._found: Found | None = None

    def terminate(self, reason: str) -> bool:
        """Ask for a checkpoint and the end; to be called from a signal handler of the thread that runs this.

        Returns:
            Whether there is something to save: ``run`` will raise ``Terminated`` once that is done, or it is over
            and its result is to be delivered.
        """
        if self._can_save:
            self._engine.inbox.put(Terminating(reason))  # SimpleQueue.put is safe in the middle of its own get
        return self._can_save or self._is_over

    def run(self, directory: Path) -> Ending:
        """Let the engine carry out the assignment, and return how that ended.

        Args:
            directory: where models are passed to and from the engine.

        Raises:
            Terminated: the worker was asked to end, and has had a checkpoint written.
            LeaseLost: the assignment is no longer ours; nothing is to be said about it.
            OutOfContact: the service has been away for too long.
        """
        try:
            bare = self._assignment.model_copy(update={"token": ""})
            self._engine.send(Work(assignment=bare, directory=str(directory)))
            ending = self._drive()
            self._is_over = True
        finally:
            if not self._is_over:
                self._engine.kill()
        return self._with_all_reports(ending)

    def _drive(self) -> Ending:
        while True:
            event = self._next()
            if isinstance(event, Evaluated):
                self._answer(event)
                continue
            if isinstance(event, Found):
                self._found = event
                continue
            if isinstance(event, Training):
                _LOG.info("first optimizer step", extra={"trunk_seconds": round(event.trunk_seconds, 4)})
                continue
            # A trial that came to its end while the service was away is told only then that it should have paused
            if isinstance(event, Preempted | Ended) and self._is_pausing:
                return replace(self._blank(), is_paused=True)
            if isinstance(event, Preempted):
                raise Terminated(self._terminating.reason if self._terminating else "preempted")
            ending = self._ending(event)
            if ending is not None:
                return self._stopped_as or ending

    def _next(self) -> Event | Gone | Failure:
        """The engine's next event, or why there is no point in waiting for it."""
        while True:
            try:
                item = self._engine.inbox.get(timeout=self._seconds_to_wait())
            except queue.Empty:
                if overdue := self._overdue():
                    return overdue
                self._engine.free_pipe()
                self._retry.check_contact()
                continue
            if isinstance(item, Terminating):
                self._terminating = item
                self._engine.send(Stop())
                continue
            if not isinstance(item, Directed):
                self._stall_detector.heard()
                return item
            if item.lease == self.lease and item.directive == "lost":
                raise LeaseLost(409, None, "another worker has it")
            if item.lease == self.lease:
                return _failure("cancelled", "cancelled while it ran")

    def _seconds_to_wait(self) -> float:
        left = (_LOOK_SECONDS, self._stall_detector.seconds_left(), self._budget_left())
        return max(0.0, min(left))

    def _budget_left(self) -> float:
        limited = TrialAssignment | SmallAssignment | ConfirmAssignment
        if not isinstance(self._assignment, limited) or self._assignment.seconds_left is None:
            return float("inf")
        return self._started_at + self._assignment.seconds_left - self._clock()

    def _overdue(self) -> Failure | None:
        if self._budget_left() <= 0:
            return _failure("budget", "the study's time was up before the trial ended")
        if self._stall_detector.seconds_left() <= 0:
            return _failure(
                "stalled", f"nothing moved in the training process for {self._stall_detector.seconds:.0f} s"
            )
        return None

    def _answer(self, evaluated: Evaluated) -> None:
        try:
            verdict = self._report(evaluated)
        except LeaseLost:
            raise
        except ServiceRefused as refused:
            _LOG.error("the service refused a report: %s", refused)
            verdict = Verdict(should_prune=True)
            self._stop(_failure("exception", f"the service refused a report: {refused}"))
        else:
            if verdict.is_cancelled:
                self._stop(_failure("cancelled", "cancelled while it ran"))
            elif verdict.should_prune:
                _LOG.info("pruned: %s", verdict.reason)
                self._stop(None)
        go_on = self._stopped_as is None
        self._is_pausing = go_on and verdict.is_paused
        self._engine.send(Answer(go_on=go_on, pause=self._is_pausing, keep_model=verdict.keep_model))
        self._stall_detector.resume()
        self._on_answer(evaluated.final or not go_on or self._is_pausing)

    def _report(self, evaluated: Evaluated) -> Verdict:
        report = Report(**self.lease.model_dump(), **evaluated.model_dump(exclude={"kind", "speed"}))
        self._n_reports += 1
        self._speed = evaluated.speed
        reported_at = self._clock()
        verdict = self._spool.flush(report) if report.final else self._spool.offer(report)
        taken = {"report_seconds": round(self._clock() - reported_at, 4)}
        _LOG.info("step %d, epoch %.2f: value %.6g", report.step, report.epoch, report.value, extra=taken)
        return verdict

    def _stop(self, failure: Failure | None) -> None:
        self._stopped_as = replace(self._blank(), is_pruned=failure is None, failure=failure)

    def _ending(self, event: Event | Gone | Failure) -> Ending | None:
        """What ``event`` means for the assignment; ``None``: it goes on. Kills a spoilt engine."""
        if isinstance(event, Ended):
            return replace(
                self._blank(),
                facts=event.facts,
                similarity=event.similarity,
                step_times=event.step_times,
                metrics=event.metrics,
                row_scores=event.row_scores,
                replayed=event.replayed,
                has_model=event.model_saved,
            )
        if isinstance(event, Gone):
            failure = self._engine.bury(event)
        elif isinstance(event, Failed):
            failure = event.failure
        elif isinstance(event, Failure):
            failure = event
        else:
            return None
        if not isinstance(event, Failed) or failure.failure_class not in _HARMLESS:
            self._engine.kill()
        if self._is_pausing and failure.failure_class not in _NO_PAUSE:
            _LOG.warning("the checkpoint of the paused trial was not written: %s", failure.message)
            return replace(self._blank(), is_paused=True)
        if self._found is not None:
            _LOG.warning("steps could not be timed: %s", failure.message)
            return replace(self._blank(), facts=self._found.facts, similarity=self._found.similarity)
        return replace(self._blank(), failure=failure, replayed=event.replayed if isinstance(event, Failed) else [])

    def _blank(self) -> Ending:
        seconds = self._clock() - self._started_at
        return Ending(device_seconds=seconds, n_reports=self._n_reports, speed=self._speed)

    def _with_all_reports(self, ending: Ending) -> Ending:
        """Deliver the reports that still wait: the outcome has no value, the service derives it from them."""
        try:
            self._spool.flush()
        except LeaseLost:
            raise
        except ServiceRefused as refused:
            return replace(ending, failure=_failure("exception", f"the service refused a report: {refused}"))
        return ending


def _failure(failure_class: str, message: str) -> Failure:
    return Failure.model_validate({"failure_class": failure_class, "message": message})
