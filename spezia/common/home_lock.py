"""The home folder of a service, and finding the service that runs on it: who holds its lock says where it listens."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from spezia.common.lazy_module import LazyModule

fcntl = LazyModule("fcntl")
"""Only Unix has it, and a client that is told where the service is does without."""

DEFAULT_HOME = Path(".spezia")
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765

_LOOK_SECONDS = 0.5
"""How long a service waits for the lock: longer than `find` holds it, even on a busy machine."""


_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that listen on all of a machine's, and how the machine itself calls them."""


class AlreadyRunning(RuntimeError):
    """Another service holds the home folder."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """What a live service says of itself."""

    url: str
    pid: int
    database_sha256: str
    """Digest of the database's URL, which itself may hold a password."""


class Hold:
    """The lock of a home folder, held by this process."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def announce(self, url: str, database: str) -> None:
        """Say where the service listens; others find it only from then on."""
        running = Running(url=url, pid=os.getpid(), database_sha256=_sha256(database))
        written = self._home / "service.json.new"
        written.write_text(json.dumps(asdict(running)))
        written.replace(self._home / "service.json")


@contextmanager
def hold(home: Path) -> Iterator[Hold]:
    """Hold ``home`` for this process.

    The kernel lets go of the lock when the process dies, however it dies.

    Raises:
        AlreadyRunning: Another live process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "service.lock").open("a") as lock:
        if not _lock_alone(lock):
            raise AlreadyRunning(f"a service already runs on {home}; stop it, or set SPEZIA_HOME")
        # of a service that was killed
        (home / "service.json").unlink(missing_ok=True)
        try:
            yield Hold(home)
        finally:
            (home / "service.json").unlink(missing_ok=True)


def find(home: Path) -> Running | None:
    """Return the live service of ``home``, or ``None``."""
    try:
        with (home / "service.lock").open("r") as lock:
            if _try_lock(lock, fcntl.LOCK_SH):
                return None
        return Running(**json.loads((home / "service.json").read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def url_from_here(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a service that listens on ``host``, a name or an address."""
    host = _ANY_ADDRESS.get(host.strip("[]"), host.strip("[]"))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def uses(running: Running, database: str) -> bool:
    """Whether a live service keeps its studies in ``database``."""
    return running.database_sha256 == _sha256(database)


def _lock_alone(lock: IO[str]) -> bool:
    # whoever looks for a service has the lock for a moment, too
    until = time.monotonic() + _LOOK_SECONDS
    while not _try_lock(lock, fcntl.LOCK_EX):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_SECONDS / 50)
    return True


def _try_lock(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
