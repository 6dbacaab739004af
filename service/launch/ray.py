"""Workers as actors of a Ray cluster: as many as there is work for, found again when the service starts again.

Ray places, leases decide: what a lost worker held is taken back by the service, and Ray starts nothing a second time.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from service.errors import ServiceError
from service.launch.ray_actor import Report, versions_here
from service.launch.ray_cluster import ClusterUnavailable, Found, Gone, Needs
from service.launch.ray_plan import RayPlan
from service.launch.reconcile import ActorState, SeenActor, reconcile
from service.lifecycle.workers.count_open_work import count_open_work
from service.lifecycle.workers.launched_workers import launch_worker, list_launched, retire_worker
from service.lifecycle.workers.placement_warning import find_warned, warn_waiting
from service.store.store import Store
from spezia.contract.key import KEY_VARIABLE

_LOG = logging.getLogger(__name__)

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
"""Time for which an actor may wait for its place, or the cluster may not answer, before studies say so."""
LOST_SECONDS = 60.0
"""Time after which a worker that no actor tells of, that holds no lease and is silent, is taken for lost."""
EARLY_SECONDS = 60.0
"""A worker that fails sooner than this may fail again: the next ones are made after 2, 4, 8, … seconds."""
MAX_BACKOFF_SECONDS = 60.0
MANY_FAILURES = 3
"""After so many early failures in a row studies say that workers fail."""


class Cluster(Protocol):
    """What the loop asks of a cluster, as `RayCluster` does it."""

    def look(self) -> dict[str, Found]: ...
    def create(self, name: str, plan: str, needs: Needs) -> None: ...
    def start(self, name: str, worker_id: str, arguments: list[str], environment: dict[str, str]) -> Report: ...
    def end(self, name: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class _Known:
    """What this process remembers of an actor between two looks."""

    state: ActorState
    since: float
    """When it was first seen in this state."""
    worker_id: str | None = None


class RayWorkers:
    """Keeps as many workers on a cluster as there is work for, from `start` to `stop`.

    All is done by one thread, off the event loop, because a cluster may take its time to answer.
    """

    def __init__(
        self, store: Store, cluster: Cluster, plan: RayPlan, launcher: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare to look after the workers of ``launcher``, whose name is the same when the service starts again."""
        self._store = store
        self._cluster = cluster
        self._plan = plan
        self._digest = plan.digest
        self._launcher = launcher
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._warned: frozenset[str] | None = None
        self._answered_at = clock()
        self._n_failures = 0
        self._failure = ""
        self._not_before = -math.inf
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look_after_all, name="ray-workers", daemon=True)

    def start(self) -> None:
        """Begin to look after the workers and return at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look after the workers no more; those that have work go on and are found again, the others end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def kill(self) -> None:
        """Have `stop` wait as little as it can; it may be called from a signal handler meanwhile."""
        self._ending.set()

    def look_once(self) -> None:
        """See what there is and what is wanted, and do what is missing.

        Raises:
            ClusterUnavailable: The cluster does not answer.
            Unavailable: The database does not answer.
        """
        seen = self._see()
        n_open = count_open_work(self._store, self._plan.at_most)
        decision = reconcile(seen, n_open=n_open, at_most=self._plan.at_most)
        for name in decision.remove:
            self._remove(name)
        for name in decision.end:
            _LOG.warning("the worker of %s is of other settings or versions, or has no key: it ends", name)
            self._cluster.end(name)
        for name in decision.start:
            self._start(name)
        if self._clock() >= self._not_before:
            for name in decision.create:
                self._cluster.create(name, self._digest, self._plan.needs)

    def _look_after_all(self) -> None:
        while not self._ending.is_set():
            for duty in (self.look_once, self.tell_studies):
                try:
                    duty()
                except (ClusterUnavailable, ServiceError) as error:
                    _LOG.warning("could not look after the workers: %s", error)
                except Exception:
                    # a thread that it ended would be missed by nobody
                    _LOG.exception("could not look after the workers")
            self._ending.wait(POLL_SECONDS)
        self._leave()

    def _see(self) -> list[SeenActor]:
        found = self._cluster.look()
        self._answered_at = self._clock()
        launched = {worker.worker_id: worker for worker in list_launched(self._store, self._launcher)}
        seen = []
        for name, answer in found.items():
            known = self._note(name, answer, launched.keys())
            is_busy = known.worker_id in launched and launched[known.worker_id].is_busy
            seen.append(SeenActor(name=name, state=known.state, is_busy=is_busy))
        for name in self._known.keys() - found.keys():
            self._forget(name)
        told = {known.worker_id for known in self._known.values()}
        for worker in launched.values():
            if worker.worker_id not in told and not worker.is_busy and worker.silent_seconds > LOST_SECONDS:
                retire_worker(self._store, worker.worker_id)
        return seen

    def _note(self, name: str, answer: Found, launched: Collection[str]) -> _Known:
        """Remember what a look has found out about an actor."""
        before = self._known.get(name)
        known = _Known(state="unplaced", since=self._clock(), worker_id=before.worker_id if before else None)
        if isinstance(answer, Report):
            known.worker_id = answer.worker_id
        known.state, failure = self._judge(answer, known.worker_id, launched)
        if before is not None and before.state == known.state:
            known.since = before.since
        self._known[name] = known
        if failure is not None:
            self._note_failure(name, failure, before)
        elif known.state == "working" and self._clock() - known.since >= EARLY_SECONDS:
            self._n_failures = 0
        return known

    def _judge(self, answer: Found, worker_id: str | None, launched: Collection[str]) -> tuple[ActorState, str | None]:
        """Return the state of an actor, and what has failed if something has."""
        if answer is None:
            # one that has answered before has a place: its node is slow, or lost, which Ray will say
            return ("working" if worker_id in launched else "unplaced"), None
        if isinstance(answer, Gone):
            return "ended", answer.reason
        if answer.exit_code is not None:
            return "ended", f"the worker ended with code {answer.exit_code}" if answer.exit_code else None
        if answer.is_ending:
            return "ending", None
        of_worker: ActorState = "ended" if worker_id is None else "stale"
        if answer.versions != versions_here():
            return of_worker, f"a node has {_listed(answer.versions)}, and the service {_listed(versions_here())}"
        if answer.plan != self._digest:
            return of_worker, None
        if worker_id is None:
            return "placed", None
        return ("working" if worker_id in launched else "stale"), None

    def _note_failure(self, name: str, failure: str, before: _Known | None) -> None:
        _LOG.warning("%s: %s", name, failure)
        if before is not None and before.state == "working" and self._clock() - before.since >= EARLY_SECONDS:
            return
        self._n_failures += 1
        self._failure = failure
        self._not_before = self._clock() + min(2.0**self._n_failures, MAX_BACKOFF_SECONDS)

    def _start(self, name: str) -> None:
        worker_id = secrets.token_hex(16)
        key = launch_worker(self._store, worker_id, self._launcher)
        arguments = [*self._plan.arguments, "--worker-id", worker_id]
        report = self._cluster.start(name, worker_id, arguments, {**self._plan.environment, KEY_VARIABLE: key})
        if report.worker_id != worker_id:
            # another service on this database was faster
            retire_worker(self._store, worker_id)
        self._known[name] = _Known(state="working", since=self._clock(), worker_id=report.worker_id)

    def _remove(self, name: str) -> None:
        self._cluster.remove(name)
        self._forget(name)

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None and known.worker_id is not None:
            retire_worker(self._store, known.worker_id)

    def _leave(self) -> None:
        try:
            for actor in self._see():
                if actor.state == "working" and not actor.is_busy:
                    self._cluster.end(actor.name)
                    self._forget(actor.name)
                elif actor.state in ("unplaced", "placed", "ended"):
                    self._remove(actor.name)
        except (ClusterUnavailable, ServiceError) as error:
            _LOG.warning("could not end the workers that wait for work; they end by themselves: %s", error)
        finally:
            self._cluster.close()

    def tell_studies(self) -> None:
        """Have studies say why nobody carries them out.

        Raises:
            Unavailable: The database does not answer.
        """
        reason = self._problem()
        if self._warned is None:
            self._warned = find_warned(self._store)
        if reason is not None or self._warned:
            self._warned = warn_waiting(self._store, reason, self._warned)

    def _problem(self) -> str | None:
        """Return why there are no workers, or fewer than wanted, for more than a moment."""
        now = self._clock()
        if now - self._answered_at >= PATIENCE_SECONDS:
            return "Ray does not answer"
        if self._n_failures >= MANY_FAILURES:
            return f"they fail on Ray as they start: {self._failure}"
        waits = [now - known.since for known in self._known.values() if known.state == "unplaced"]
        if max(waits, default=0.0) >= PATIENCE_SECONDS:
            return f"Ray has no place for one more, which asks for {self._plan.needs}"
        return None


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
