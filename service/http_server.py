"""The HTTP service of a process, from the opening of its database to its last answer."""

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Protocol

import uvicorn

from service.app import create_app
from service.further_processes import FurtherProcesses
from service.http_protocol import PatientProtocol
from service.launch.ray import RayWorkers
from service.launch.ray_cluster import RayCluster
from service.launch.ray_plan import ray_plan
from service.launch.worker_roll import WorkerRoll
from service.lifecycle.keys.check_key import has_keys
from service.lifecycle.leases.reap import void_leases
from service.lifecycle.workers.launched_workers import (
    admit_worker,
    database_identity,
    retire_left_behind,
    retire_worker,
)
from service.loopback import NoKeys
from service.settings import Settings
from service.store.store import Store
from service.work_signal import WorkSignal
from spezia.common.home_lock import Hold
from spezia.common.worker_processes import LocalWorkers

log = logging.getLogger(__name__)

_BACKLOG = 128
"""Connections that may wait to be accepted. asyncio logs as many tracebacks a second while it may open no more files:
with uvicorn's 2,048 a service does little else, and long after."""

_YOUNG_OBJECTS = 50_000
"""New objects at which Python looks for garbage among them; a tenth as often it looks further back."""

STARTUP_FAILED = 3
"""Exit code of a service that did not start; its log says why."""


def run(
    settings: Settings,
    held: Hold,
    listener: socket.socket,
    url: str,
    workers: LocalWorkers,
    roll: WorkerRoll,
    *,
    is_restored: bool,
) -> int:
    """Answer at ``listener`` until told to end; return the exit code.

    Args:
        held: Home folder, where the service is announced under ``url``.
        workers: Workers of this machine, which have been started already and are told to end before the service does.
        roll: Ids and keys of these workers; the service knows them before it answers the first of them.
        is_restored: The database was just restored from a backup, so that no lease in it is to be trusted.

    Raises:
        NoKeys: The address is not a loopback one, and there is no API key.
        ValueError: The database cannot be used; the message says what to do.
        BadRaySettings: Workers cannot be started on Ray by these settings.
        ClusterUnavailable: Ray does not answer, or does not let this service in.
    """
    app = create_app(settings)
    store = app.state.parts.store
    if not settings.is_private and not has_keys(store):
        raise NoKeys(
            f"{settings.host} can be reached by others, and this database has no API key; make one first:"
            " `spezia key create NAME --scope admin` (with the same database), or listen on 127.0.0.1"
        )
    held.announce(url, settings.database)
    # workers of an earlier process on this home ended with it; what they held need not wait for its expiry
    launcher = f"{socket.gethostname()}:{settings.home.absolute()}"
    retire_left_behind(store, launcher)
    if is_restored:
        log.info("%d leases from before the backup were taken back", void_leases(store))
    roll.report_to(
        admit=lambda worker_id, key: admit_worker(store, worker_id, launcher, key),
        retire=lambda worker_id: retire_worker(store, worker_id),
    )
    launched = _start_on_ray(settings, url, store) if settings.launcher == "ray" else workers
    further = FurtherProcesses(settings, listener)
    further.start()
    return _answer(app, store.work, listener, [launched, further])


def run_further(settings: Settings, listener: socket.socket) -> int:
    """Answer at ``listener`` beside the first process of the service, until told to end; return the exit code.

    Raises:
        ValueError: The database cannot be used; the message says what to do.
    """
    app = create_app(settings)
    return _answer(app, app.state.parts.store.work, listener, [])


class _Dependent(Protocol):
    """What was started for the service and ends before it."""

    def stop(self) -> None: ...

    def kill(self) -> None: ...


def _answer(
    app: Callable[..., Any], work: WorkSignal, listener: socket.socket, dependents: Sequence[_Dependent]
) -> int:
    # whoever may call us may write X-Forwarded-For too
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        backlog=_BACKLOG,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(config, dependents, work)
    _let_garbage_wait()
    try:
        server.run(sockets=[listener])
    finally:
        for dependent in dependents:
            dependent.stop()
    return 0 if server.started else STARTUP_FAILED


def _start_on_ray(settings: Settings, url: str, store: Store) -> RayWorkers:
    plan = ray_plan(settings, url, os.environ)
    namespace = f"spezia-{database_identity(store)}"
    cluster = RayCluster(plan.address, namespace)
    cluster.connect()  # what is wrong with the address or the token is said before the service answers
    workers = RayWorkers(store, cluster, plan, launcher=f"ray:{namespace}")
    workers.start()
    return workers


def _let_garbage_wait() -> None:
    """Have Python search for garbage rarely, and never in what was imported.

    A search holds up everything: with its usual limits, 50,000 small lists in a body, made in 2 ms, have the whole heap
    gone through, which takes 200 ms after a start and longer beside many trials.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


class _Server(uvicorn.Server):
    """Ends what depends on the service while it still answers: workers give their trials back, and after them come the
    other processes, which have answered them."""

    def __init__(self, config: uvicorn.Config, dependents: Sequence[_Dependent], work: WorkSignal) -> None:
        super().__init__(config)
        self._dependents = dependents
        self._work = work
        self._is_ending = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in good order at the first signal, and at once at a second Ctrl-C."""
        if self._is_ending:
            # SIGTERM may come twice: a parent that dies closes the pipe and has the kernel send it too
            if sig == signal.SIGINT:
                for dependent in self._dependents:
                    dependent.kill()
                self.should_exit = self.force_exit = True
            return
        self._is_ending = True
        threading.Thread(target=self._end, name="end", daemon=True).start()

    def _end(self) -> None:
        for dependent in self._dependents:
            dependent.stop()
        self._work.notify()  # requests for work whose worker is gone wait no more, and so the server need not either
        self.should_exit = True
