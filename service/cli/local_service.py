"""A service on this machine: the one that runs already, or one that is started for a while."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.settings import Settings
from spezia.common.extras import require_trainer
from spezia.common.home_lock import find, uses
from spezia.contract.key import KEY_VARIABLE

START_SECONDS = 60.0
STOP_SECONDS = 40.0
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 15


class NoLocalService(RuntimeError):
    """No local service could be reached or started; the message says why."""


@contextmanager
def local_service(settings: Settings, data_roots: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Yield the URL of a service on the database of ``settings``, and whether it ends with this process.

    Raises:
        NoLocalService: Another database is being served from this home, or the service did not start.
        MissingExtra: None is being served, and a service with workers of this machine could not train.
    """
    running = find(settings.home)
    if running is None:
        if settings.n_workers != 0:
            require_trainer("a local worker")
        with _started(settings, data_roots) as url:
            yield url, True
    elif uses(running, settings.database):
        yield running.url, False
    else:
        raise NoLocalService(
            f"the service of {settings.home} at {running.url} uses another database; give its --database, stop it,"
            " or set SPEZIA_HOME to another folder"
        )


@contextmanager
def _started(settings: Settings, data_roots: Sequence[Path]) -> Iterator[str]:
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / "service.log"
    with log.open("ab") as output:
        # in our main thread: the kernel ends the service with the thread that started it
        service = subprocess.Popen(
            _command(settings, data_roots),
            env=_environment(settings),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        yield _wait_for_url(settings.home, service, log)
    finally:
        _end(service)


def _command(settings: Settings, data_roots: Sequence[Path]) -> list[str]:
    command = [sys.executable, "-P", "-m", "spezia.cli", "serve", "--port", "0", "--exit-with-parent"]
    if settings.n_workers is not None:
        command += ["--workers", str(settings.n_workers)]
    if settings.processes > 1:
        command += ["--processes", str(settings.processes)]
    for root in (*settings.data_roots, *data_roots):
        command += ["--data-root", str(root.absolute())]
    for folder in settings.allow_scripts:
        command += ["--allow-scripts", str(folder.absolute())]
    return command


def _environment(settings: Settings) -> dict[str, str]:
    # its log is a file that a person reads when the service does not start
    environment = {"SPEZIA_LOG_FORMAT": "text", **os.environ, "SPEZIA_HOME": str(settings.home.absolute())}
    # who answers needs no key
    environment.pop(KEY_VARIABLE, None)
    if settings.database_url is not None:
        # not on the command line, which other users can read: the URL may hold a password
        environment["SPEZIA_DATABASE_URL"] = settings.database_url
    return environment


def _wait_for_url(home: Path, service: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while service.poll() is None and time.monotonic() < deadline:
        running = find(home)
        if running is not None and running.pid == service.pid:
            return running.url
        time.sleep(_POLL_SECONDS)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    raise NoLocalService(f"the service did not start; the end of {log}:\n{tail}")


def _end(service: subprocess.Popen[bytes]) -> None:
    """Tell the service to end, and wait until it and its workers have; Ctrl-C meanwhile ends them at once."""
    assert service.stdin is not None
    service.stdin.close()
    deadline = time.monotonic() + STOP_SECONDS
    while service.poll() is None:
        try:
            service.wait(max(0.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            service.send_signal(signal.SIGINT)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
