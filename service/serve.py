"""The process of `spezia serve`: the HTTP service and, beside it, workers of this machine."""

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from types import FrameType

import uvicorn

from service.app import create_app
from service.http_protocol import PatientProtocol
from service.launch.local import WORKER_PROGRAM, WorkerPlan
from service.lifecycle.keys.check_key import has_keys
from service.lifecycle.leases.reap import void_leases
from service.lifecycle.workers.launched_workers import launch_worker, retire_left_behind, retire_worker
from service.settings import Settings
from service.work_signal import WorkSignal
from spezia.common.devices import default_n_workers, find_gpus
from spezia.common.home_lock import Hold, hold, url_from_here
from spezia.common.logs import set_up_logging
from spezia.common.worker_processes import LocalWorkers

log = logging.getLogger(__name__)

_BACKLOG = 128
"""Connections that may wait to be accepted. asyncio logs as many tracebacks a second while it may open no more files:
with uvicorn's 2,048 a service does little else, and long after."""

_YOUNG_OBJECTS = 50_000
"""New objects at which Python looks for garbage among them; a tenth as often it looks further back."""

STARTUP_FAILED = 3
"""Exit code of a service that did not start; its log says why."""


class NoKeys(RuntimeError):
    """The service was to listen where others reach it, and has no API key that would keep them out."""


def serve(settings: Settings, worker_program: Sequence[str] = WORKER_PROGRAM, *, is_restored: bool = False) -> int:
    """Run the HTTP service and its local workers until told to end; return the exit code.

    Args:
        worker_program: Command of each local worker; the options of `spezia-worker` are added to it.
        is_restored: The database was just restored from a backup, so that no lease in it is to be trusted.

    Raises:
        AlreadyRunning: Another service holds the home folder.
        NoKeys: The address is not a loopback one, and there is no API key.
        OSError: The address cannot be listened on.
    """
    set_up_logging(settings.log_format, settings.log_level)
    with _listen(settings.host, settings.port) as listener:
        # asyncio does so only for sockets made for IPPROTO_TCP by name; without, every answer waits 40 ms for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = url_from_here(settings.host, listener.getsockname()[1])
        with hold(settings.home) as held:
            return _serve(settings, held, listener, url, worker_program, is_restored=is_restored)


def _serve(
    settings: Settings,
    held: Hold,
    listener: socket.socket,
    url: str,
    worker_program: Sequence[str],
    *,
    is_restored: bool,
) -> int:
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
    workers = LocalWorkers(
        _plan(settings, url, worker_program),
        on_start=lambda worker_id: launch_worker(store, worker_id, launcher),
        on_death=lambda worker_id, _code: retire_worker(store, worker_id),
    )
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
    server = _Server(config, workers, store.work)
    _let_garbage_wait()
    workers.start()
    try:
        server.run(sockets=[listener])
    finally:
        workers.stop()
    return 0 if server.started else STARTUP_FAILED


def _let_garbage_wait() -> None:
    """Have Python search for garbage rarely, and never in what was imported.

    A search holds up everything: with its usual limits, 50,000 small lists in a body, made in 2 ms, have the whole heap
    gone through, which takes 200 ms after a start and longer beside many trials.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


def _plan(settings: Settings, url: str, program: Sequence[str]) -> WorkerPlan:
    gpus = find_gpus()
    n_workers = default_n_workers(gpus) if settings.n_workers is None else settings.n_workers
    return WorkerPlan(
        server=url,
        data_roots=settings.data_roots,
        allow_scripts=settings.allow_scripts,
        gpus=gpus,
        n_workers=n_workers,
        checkpoint_dir=settings.checkpoint_dir or settings.home / "checkpoints",
        checkpoint_bytes=settings.checkpoint_bytes,
        cache_dir=settings.cache_dir or settings.home / "cache",
        cache_bytes=settings.cache_bytes,
        program=program,
        environment=_worker_environment(),
    )


def _worker_environment() -> dict[str, str]:
    """Ours without what is for the service alone, such as the database's password."""
    withheld = [name for name in os.environ if name.startswith("SPEZIA_") and not name.startswith("SPEZIA_LOG_")]
    return {name: value for name, value in os.environ.items() if name not in withheld}


def _listen(host: str, port: int) -> socket.socket:
    host = host.strip("[]")
    if ":" in host:
        family, both = socket.AF_INET6, socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    return socket.create_server((host, port))


class _Server(uvicorn.Server):
    """Ends what depends on the service while it still answers: workers give their trials back."""

    def __init__(self, config: uvicorn.Config, workers: LocalWorkers, work: WorkSignal) -> None:
        super().__init__(config)
        self._workers = workers
        self._work = work
        self._is_ending = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in good order at the first signal, and at once at a second Ctrl-C."""
        if self._is_ending:
            # SIGTERM may come twice: a parent that dies closes the pipe and has the kernel send it too
            if sig == signal.SIGINT:
                self._workers.kill()
                self.should_exit = self.force_exit = True
            return
        self._is_ending = True
        threading.Thread(target=self._end, name="end", daemon=True).start()

    def _end(self) -> None:
        self._workers.stop()
        self._work.notify()  # requests for work whose worker is gone wait no more, and so the server need not either
        self.should_exit = True
