"""Renews leases, off the thread that drives the training."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context

from spezia.contract.protocol import Directive, HeartbeatRequest, HeldLease, WantedCheckpoint
from trainer.supervisor.client import ServiceClient, ServiceError

_LOG = logging.getLogger(__name__)

OnDirective = Callable[[HeldLease, Directive], None]
OnWanted = Callable[[WantedCheckpoint], None]


class Heartbeat:
    """A thread that renews all held leases, and passes on what the service wants ended, and sent to other workers."""

    def __init__(
        self, client: ServiceClient, on_directive: OnDirective, on_wanted: OnWanted, *, seconds: float
    ) -> None:
        """Beat every ``seconds``, as the service asked of this worker."""
        self._client = client
        self._on_directive = on_directive
        self._on_wanted = on_wanted
        self._seconds = seconds
        self._leases: dict[str, HeldLease] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._is_failing = False

    def start(self) -> None:
        """Beat until ``stop``."""
        # in the context of whoever starts it: its log lines name the worker
        threading.Thread(target=copy_context().run, args=(self._run,), name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Beat no more; a beat in flight may still end."""
        self._stopped.set()

    def hold(self, lease: HeldLease) -> None:
        """Renew ``lease`` from now on."""
        with self._lock:
            self._leases[lease.lease_id] = lease

    def drop(self, lease: HeldLease) -> None:
        """Renew ``lease`` no more."""
        with self._lock:
            self._leases.pop(lease.lease_id, None)

    def beat(self) -> None:
        """Renew all leases once. A service out of reach is no reason to stop: the lease may outlive that."""
        with self._lock:
            held = dict(self._leases)
        if not held:
            return
        try:
            reply = self._client.heartbeat(HeartbeatRequest(leases=list(held.values())))
        except ServiceError as error:
            if not self._is_failing:
                _LOG.warning("heartbeat failed, training goes on: %s", error)
            self._is_failing = True
            return
        self._is_failing = False
        for status in reply.leases:
            if status.directive != "continue" and status.lease_id in held:
                self._on_directive(held[status.lease_id], status.directive)
        for wanted in reply.checkpoints:
            self._on_wanted(wanted)

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.beat()
