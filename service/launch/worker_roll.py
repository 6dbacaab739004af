"""The workers that this process has started, for a service that hears of them only once it is there."""

import threading
from collections.abc import Callable

from service.lifecycle.keys.key_text import draw_key


class WorkerRoll:
    """Ids and keys of the workers that live; several threads may write it."""

    def __init__(self) -> None:
        """Begin an empty roll that nobody hears of yet."""
        self._keys: dict[str, str] = {}
        self._admit: Callable[[str, str], object] = lambda worker_id, key: None
        self._retire: Callable[[str], object] = lambda worker_id: None
        self._lock = threading.Lock()

    def report_to(self, *, admit: Callable[[str, str], object], retire: Callable[[str], object]) -> None:
        """Have ``admit`` hear the id and the key of each worker that lives, and of later ones before they start;
        ``retire`` hears the id of one that has ended."""
        with self._lock:
            self._admit, self._retire = admit, retire
            for worker_id, key in self._keys.items():
                admit(worker_id, key)

    def enter(self, worker_id: str) -> str:
        """Enter a worker that is about to start, and return the API key that it gets; what ``admit`` raises passes."""
        _, key = draw_key()
        with self._lock:
            self._admit(worker_id, key)
            self._keys[worker_id] = key
        return key

    def strike_off(self, worker_id: str) -> None:
        """Strike off a worker that has ended; what ``retire`` raises passes."""
        with self._lock:
            del self._keys[worker_id]
            self._retire(worker_id)
