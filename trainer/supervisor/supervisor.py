"""Takes work from the service, has an engine process carry it out, and hands in the result.

The supervisor imports no torch: it lives on when the engine, which does, crashes, hangs or is killed.
"""

import errno
import logging
import platform
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NoReturn

from structlog.contextvars import bind_contextvars, bound_contextvars

from spezia.contract.assignments import Assignment, PrepareAssignment, ProbeAssignment
from spezia.contract.failure import Failure
from spezia.contract.protocol import (
    MAX_WAIT_SECONDS,
    PROTOCOL,
    Directive,
    Dispatch,
    DispatchRequest,
    HeldLease,
    Release,
    WorkerRegistration,
)
from trainer.errors import CheckpointLost
from trainer.messages import Hello
from trainer.supervisor.attempt import Attempt, Terminated
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceError, ServiceRefused, WorkerUnknown
from trainer.supervisor.dataset_downloads import local_file, with_local_data
from trainer.supervisor.delivery import Delivery
from trainer.supervisor.download_cache import DownloadCache, downloads_folder, uploads_of
from trainer.supervisor.ending import Ending
from trainer.supervisor.engine_process import Directed, EngineProcess, Gone, WorkerBroken
from trainer.supervisor.heartbeat import Heartbeat
from trainer.supervisor.model_downloads import with_local_model
from trainer.supervisor.own_checkpoints import OwnCheckpoints
from trainer.supervisor.read_parquet_head import read_parquet_head
from trainer.supervisor.retry import GIVE_UP_SECONDS, OutOfContact, Retry, waits
from trainer.supervisor.scratch import scratch_folder, sweep_scratch
from trainer.supervisor.spool import Spool
from trainer.supervisor.stall_detector import STALL_SECONDS
from trainer.trial.checkpoint_folder import CheckpointFolder

BROKEN = 1
"""Exit code of a worker whose machine cannot do the work, or that the service has not answered for too long: the next
one may fare better."""
REFUSED = 3
"""Exit code of a worker that the service does not let in, for its key or its version: the next one would fare alike."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Times that a worker waits, in seconds."""

    stall_seconds: float = STALL_SECONDS
    """Time without a sign of life of the engine; longer when its steps are long."""
    hello_seconds: float = 600.0
    """Time for a new engine to import torch and find its device."""
    give_up_seconds: float = GIVE_UP_SECONDS
    """Time without an answer of the service."""
    wait_seconds: float = MAX_WAIT_SECONDS
    """Time that one call waits for work."""
    idle_seconds: float | None = None
    """Time without work after which a worker ends; absent: it waits for ever."""


class Supervisor:
    """One worker, which carries out one assignment at a time."""

    def __init__(
        self,
        client: ServiceClient,
        engine_command: Sequence[str],
        *,
        worker_id: str,
        limits: Limits = Limits(),
        checkpoints: CheckpointFolder | None = None,
        downloads: DownloadCache | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a worker that has not begun.

        Args:
            engine_command: command line of an engine.
            checkpoints: folder of the engine's checkpoints; without it, trials that are interrupted begin anew.
            downloads: what was fetched from the service; without it, that of this user.
        """
        self._client = client
        self._engine_command = engine_command
        self._checkpoints = OwnCheckpoints(checkpoints, client)
        self._downloads = downloads or DownloadCache(downloads_folder())
        self._versions: dict[str, str] = {}
        self._attempt: Attempt | None = None
        self._terminating: str | None = None
        self._may_interrupt = False
        self._worker_id = worker_id
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._retry = Retry(client, give_up_seconds=limits.give_up_seconds, clock=clock, sleep=sleep)
        self._engine: EngineProcess | None = None
        self._heartbeat: Heartbeat | None = None
        self._held: HeldLease | None = None

    def run(self) -> int:
        """Work until terminated, and return the process's exit code."""
        bind_contextvars(worker_id=self._worker_id)
        try:
            self._work_until_interrupted()
        except Terminated as signal:
            _LOG.info("%s: ending", signal)
            self._end_engine()
            self._give_back("preempted")
            return 0
        except WorkerBroken as broken:
            _LOG.error("%s; this worker ends", broken)
            self._give_back(broken.reason)
            return BROKEN
        except OutOfContact as error:
            _LOG.error("%s; this worker ends", error)
            return BROKEN
        except ServiceRefused as error:
            _LOG.error("the service does not let this worker in: %s; this worker ends", error)
            return REFUSED
        finally:
            self._end_engine()
            if self._heartbeat:
                self._heartbeat.stop()

    def terminate(self, reason: str) -> None:
        """End ``run`` soon; to be called from a signal handler of the thread that runs it.

        Raises:
            Terminated: at once, unless a trial can be saved or a result delivered first: until ``cut_short``.
        """
        self._terminating = reason
        if self._attempt is None or not self._attempt.terminate(reason):
            self.cut_short()

    def cut_short(self) -> None:
        """End what ``terminate`` has left time for; to be called as that is.

        Raises:
            Terminated: at once, unless ``run`` is ending already or has not begun.
        """
        if self._may_interrupt:
            self._may_interrupt = False
            raise Terminated(self._terminating)

    def kill_engine(self) -> None:
        """Kill the engine and wait for nothing; to be called from any thread, before this process ends."""
        if self._engine:
            self._engine.kill_group()

    def _work_until_interrupted(self) -> NoReturn:
        self._may_interrupt = True
        try:
            self._work()
        finally:
            self._may_interrupt = False

    def _work(self) -> NoReturn:
        self._end_if_told()
        sweep_scratch()
        self._checkpoints.start()
        _LOG.info("starting an engine")
        hello = self._wait_for_hello(self._ready_engine())
        self._versions = hello.versions
        registration = self._describe(hello)
        self._register(registration)
        idle_since = self._clock()
        while True:
            self._end_if_told()
            self._ready_engine()  # a new one starts up while we wait for work
            try:
                found = self._ask()
            except WorkerUnknown:
                self._register(registration)
                continue
            if found.to_read:
                self._read_head(found.to_read.sha256)
                idle_since = self._clock()
                continue
            if not found.assignments:
                self._end_if_idle(idle_since)
                self._sleep(next(waits()))
            for assignment in found.assignments:
                with bound_contextvars(**_log_fields(assignment)):
                    self._carry_out(assignment)
                idle_since = self._clock()

    def _end_if_told(self) -> None:
        """Raise ``Terminated`` if that was put off: until ``run`` began, or the assignment in hand was delivered."""
        if self._terminating is not None:
            raise Terminated(self._terminating)

    def _end_if_idle(self, since: float) -> None:
        limit = self._limits.idle_seconds
        if limit is not None and self._clock() - since >= limit:
            raise Terminated(f"no work for {limit:g} s")

    def _ask(self) -> Dispatch:
        held = self._checkpoints.held(self._versions)
        request = DispatchRequest(slots=1, wait_seconds=self._limits.wait_seconds, checkpoints=held)
        return self._retry.insist(lambda: self._client.dispatch(self._worker_id, request))

    def _read_head(self, sha256: str) -> None:
        """Read the beginning of a Parquet file, and hand it in; what fails here is left to another worker."""
        _LOG.info("reading the beginning of sha256:%s", sha256)
        try:
            with self._downloads.holding([sha256]):
                fetch = self._client.fetch_dataset
                path = self._retry.insist(lambda: local_file(sha256, self._downloads.folder, fetch))
                outcome = read_parquet_head(path)
            self._retry.insist(lambda: self._client.tell_head(self._worker_id, sha256, outcome))
        except (ServiceRefused, OSError) as error:
            _LOG.error("sha256:%s was not read: %s", sha256, error)

    def _describe(self, hello: Hello) -> WorkerRegistration:
        return WorkerRegistration(
            worker_id=self._worker_id,
            host=platform.node() or "unknown",
            device=hello.device,
            versions=hello.versions | {"spezia": version("spezia")},
            protocol=PROTOCOL,
        )

    def _register(self, registration: WorkerRegistration) -> None:
        terms = self._retry.insist(lambda: self._client.register(registration))
        _LOG.info("worker %s registered: %s", self._worker_id[:8], registration.device.name)
        if self._heartbeat:
            self._heartbeat.stop()
        self._heartbeat = Heartbeat(
            self._client, self._on_directive, self._checkpoints.want, seconds=terms.heartbeat_seconds
        )
        self._heartbeat.start()

    def _on_directive(self, lease: HeldLease, directive: Directive) -> None:
        if self._engine:
            self._engine.inbox.put(Directed(lease, directive))

    def _ready_engine(self) -> EngineProcess:
        """An engine that can be given work, a new one if the last had to be thrown away."""
        if self._engine is None or not self._engine.is_alive:
            self._end_engine()
            self._engine = EngineProcess(self._engine_command)
        return self._engine

    def _wait_for_hello(self, engine: EngineProcess) -> Hello:
        try:
            event = engine.inbox.get(timeout=self._limits.hello_seconds)
        except queue.Empty:
            raise WorkerBroken(
                f"the training process did not start within {self._limits.hello_seconds:.0f} s"
            ) from None
        if isinstance(event, Gone):
            engine.bury(event)
        if not isinstance(event, Hello):
            raise WorkerBroken(f"the training process began with {event!r}")
        return event

    def _end_engine(self) -> None:
        if self._engine:
            self._engine.kill()

    def _carry_out(self, assignment: Assignment) -> None:
        assert self._heartbeat is not None
        self._held = HeldLease(lease_id=assignment.lease_id, token=assignment.token)
        self._heartbeat.hold(self._held)
        try:
            with scratch_folder() as directory, self._downloads.holding(uploads_of(assignment)):
                self._complete(assignment, self._ready_engine(), directory)
        except LeaseLost:
            _LOG.warning("%s: no longer ours, dropped", _name(assignment))
        except ServiceRefused as refused:
            _LOG.error("%s: %s; dropped", _name(assignment), refused)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise WorkerBroken(f"no space left: {error}", "disk_full") from error
        finally:
            self._heartbeat.drop(self._held)
        self._held = None

    def _complete(self, assignment: Assignment, engine: EngineProcess, directory: Path) -> None:
        _LOG.info("%s: attempt %d begins", _name(assignment), assignment.attempt)
        engine.log.start()
        delivery = Delivery(assignment, engine.log, client=self._client, retry=self._retry, clock=self._clock)
        try:
            local = self._retry.insist(lambda: self._with_downloads(assignment))
            delivery.fetch_model(directory)
            if not self._has_fetched_checkpoint(assignment):
                return
        except LeaseLost:
            raise
        except ServiceRefused as refused:
            # another worker would be refused as well
            failure = Failure(failure_class="data_error", message=f"the service refused a download: {refused}")
            self._deliver(assignment, Ending(device_seconds=0.0, failure=failure), delivery, directory)
            return
        attempt = Attempt(
            local,
            engine,
            retry=self._retry,
            spool=Spool(self._client, self._retry, clock=self._clock),
            on_answer=delivery.pass_on_log,
            can_save=self._checkpoints.can_save,
            stall_seconds=self._limits.stall_seconds,
            clock=self._clock,
        )
        self._attempt = attempt
        try:
            self._deliver(assignment, attempt.run(directory), delivery, directory)
        finally:
            self._attempt = None

    def _with_downloads(self, assignment: Assignment) -> Assignment:
        """Return the assignment with paths of this machine for all that was uploaded to the service."""
        local = with_local_data(assignment, self._downloads.folder, self._client.fetch_dataset)
        return with_local_model(local, self._downloads.folder, self._client)

    def _deliver(self, assignment: Assignment, ending: Ending, delivery: Delivery, directory: Path) -> None:
        failure = ending.failure
        if failure and failure.failure_class == "lost":
            self._begin_anew(assignment, failure)
            return
        if failure and failure.failure_class == "disk_full":
            raise WorkerBroken(failure.message, "disk_full")
        if ending.is_paused:
            delivery.release_paused(ending, has_checkpoint=self._checkpoints.has(assignment, self._versions))
            _LOG.info("%s: paused after %.1f s", _name(assignment), ending.device_seconds)
            return
        delivery.hand_in(ending, directory)
        self._checkpoints.forget(assignment)
        how = f"{failure.failure_class}: {failure.message}" if failure else "done"
        _LOG.info("%s: %s after %.1f s", _name(assignment), how, ending.device_seconds)

    def _has_fetched_checkpoint(self, assignment: Assignment) -> bool:
        """Whether all that the trial goes on from is here; if it cannot be had, the trial has been given back."""
        assert self._held is not None
        held = self._held
        try:
            self._retry.insist(lambda: self._checkpoints.fetch(assignment, held))
        except LeaseLost:
            raise
        except (ServiceRefused, CheckpointLost) as error:
            self._begin_anew(assignment, Failure(failure_class="lost", message=str(error)))
            return False
        return True

    def _begin_anew(self, assignment: Assignment, failure: Failure) -> None:
        """The checkpoint that the trial was to go on from is lost: without it the service gives it out anew."""
        assert self._held is not None
        held = self._held
        _LOG.warning("%s: %s", _name(assignment), failure.message)
        self._checkpoints.forget(assignment)
        self._retry.insist(lambda: self._client.release(held, Release(reason="checkpoint_lost")))

    def _give_back(self, reason: Literal["preempted", "bystander", "disk_full"]) -> None:
        """Release what is held; tried once: the lease expires by itself if that fails."""
        if self._held is None:
            return
        try:
            self._client.release(self._held, Release(reason=reason))
        except ServiceError as error:
            _LOG.warning("could not give the assignment back: %s", error)


def _name(assignment: Assignment) -> str:
    if isinstance(assignment, PrepareAssignment | ProbeAssignment):
        return f"{assignment.study} {assignment.kind}"
    return f"{assignment.study} {assignment.kind} {assignment.number}"


def _log_fields(assignment: Assignment) -> dict[str, object]:
    trial = {} if isinstance(assignment, PrepareAssignment | ProbeAssignment) else {"trial": assignment.number}
    return {
        "study": assignment.study,
        "work": assignment.kind,
        **trial,
        "attempt": assignment.attempt,
        "lease_id": assignment.lease_id,
    }
