"""The process of `spezia serve`: workers of this machine and, beside them, the HTTP service, which may have others on a
cluster.

Nothing here loads a library that takes long: workers are started first, and load what they train with while this
process loads what the service needs.
"""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from service.launch.local import WORKER_PROGRAM, WorkerPlan
from service.launch.worker_roll import WorkerRoll
from service.settings import Settings
from spezia.common.devices import default_n_workers, find_gpus
from spezia.common.home_lock import hold, url_from_here
from spezia.common.lazy_module import LazyModule
from spezia.common.logs import set_up_logging
from spezia.common.worker_processes import LocalWorkers

http_server = LazyModule("service.http_server")

COUNTERS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable by which `prometheus_client` learns, when it is imported, to count in files of this folder."""


def serve(settings: Settings, worker_program: Sequence[str] = WORKER_PROGRAM, *, is_restored: bool = False) -> int:
    """Run the HTTP service and its local workers until told to end; return the exit code.

    Args:
        worker_program: Command of each local worker; the options of `spezia-worker` are added to it.
        is_restored: The database was just restored from a backup, so that no lease in it is to be trusted.

    Raises:
        AlreadyRunning: Another service holds the home folder.
        NoKeys: The address is not a loopback one, and there is no API key.
        OSError: The address cannot be listened on.
        ValueError: The database cannot be used; the message says what to do.
        BadRaySettings: Workers cannot be started on Ray by these settings.
        ClusterUnavailable: Ray does not answer, or does not let this service in.
    """
    set_up_logging(settings.log_format, settings.log_level)
    with _listen(settings.host, settings.port) as listener:
        # asyncio does so only for sockets made for IPPROTO_TCP by name; without, every answer waits 40 ms for an ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = url_from_here(settings.host, listener.getsockname()[1])
        with hold(settings.home) as held:
            roll = WorkerRoll()
            workers = LocalWorkers(
                _plan(settings, url, worker_program),
                on_start=roll.enter,
                on_death=lambda worker_id, _code: roll.strike_off(worker_id),
            )
            if settings.processes > 1:
                _count_together(settings.home / "metrics")
            workers.start()
            try:
                code: int = http_server.run(settings, held, listener, url, workers, roll, is_restored=is_restored)
            finally:
                workers.stop()
    return code


def _plan(settings: Settings, url: str, program: Sequence[str]) -> WorkerPlan:
    gpus = find_gpus()
    n_workers = default_n_workers(gpus) if settings.n_workers is None else settings.n_workers
    if settings.launcher == "ray":
        n_workers = 0
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


def _count_together(folder: Path) -> None:
    """Have all processes of the service count in files of one folder, from which each tells what all have counted."""
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier service has counted
    folder.mkdir()
    os.environ[COUNTERS_VARIABLE] = str(folder)


def _worker_environment() -> dict[str, str]:
    """Ours without what is for the service alone, such as the database's password and the credentials of its bucket."""
    withheld = [name for name in os.environ if name.startswith("SPEZIA_") and not name.startswith("SPEZIA_LOG_")]
    withheld += [name for name in os.environ if name.startswith("AWS_")]
    return {name: value for name, value in os.environ.items() if name not in withheld}


def _listen(host: str, port: int) -> socket.socket:
    host = host.strip("[]")
    if ":" in host:
        family, both = socket.AF_INET6, socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    return socket.create_server((host, port))
