"""Who may come in: keys, what each may do, and how often."""

import hmac
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.errors import Forbidden, TooManyRequests
from service.lifecycle.keys.check_key import check_key, has_keys
from service.lifecycle.keys.key_text import draw_key, hash_key
from service.store.store import Store
from service.store.transaction import Viewer
from spezia.contract.key import Scope

REMEMBERED_SECONDS = 5.0
"""A key that was good is not looked up again for so long, so a revoked one may come in for so long."""
OPEN_SECONDS = 1.0
"""A service without keys is open for so long after the first key was made."""
MAX_REMEMBERED = 1024
ADDRESS_BUCKETS = 4096
"""Callers without a key are counted in so many places: bounded memory, however many addresses they have."""

_IMPLIED = {Scope.ADMIN: frozenset(Scope), Scope.WRITE: {Scope.READ}}


@dataclass(frozen=True)
class Caller:
    key_id: str
    name: str
    scopes: frozenset[Scope]
    """With what they imply."""

    def check(self, needed: frozenset[Scope], call: str) -> None:
        """Return if one of ``needed`` is among the scopes.

        Raises:
            Forbidden: None is.
        """
        if not self.scopes & needed:
            raise Forbidden(call, sorted(needed), sorted(self.scopes))

    @property
    def viewer(self) -> Viewer | None:
        """Whose studies they see; ``None``: where nobody has a key, everybody sees all."""
        return None if self is ANYBODY else Viewer(owner=self.name, sees_all=Scope.ADMIN in self.scopes)


ANYBODY = Caller(key_id="", name="", scopes=frozenset(Scope))
"""Who calls a service that needs no key."""


class Gate:
    """One service process's; shared by threads."""

    def __init__(
        self,
        store: Store,
        *,
        is_private: bool,
        requests_per_minute: int,
        worker_requests_per_minute: int,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_private``: only this machine reaches the service, so that it may be open while there is no key."""
        self._store = store
        self._timer = timer
        self._is_open = is_private
        self._open_until = -math.inf
        self._remembered: dict[str, tuple[Caller, float]] = {}
        self._lock = threading.Lock()
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits = {
            "worker": RateLimitItemPerMinute(worker_requests_per_minute),
            "person": RateLimitItemPerMinute(requests_per_minute),
        }
        _, self.local_key = draw_key()
        """For the workers that this process starts; in no database, and gone with the process."""
        self._local_sha256 = hash_key(self.local_key)

    def remembered(self, presented: str) -> Caller | None:
        """Whoever presents this key, if that is known without asking the database."""
        now = self._timer()
        if self._is_open and now < self._open_until:
            return ANYBODY
        sha256 = hash_key(presented)
        if hmac.compare_digest(sha256, self._local_sha256):
            return Caller(key_id="local", name="local", scopes=frozenset({Scope.WORKER}))
        caller, until = self._remembered.get(sha256, (None, -math.inf))
        return caller if now < until else None

    def look_up(self, presented: str) -> Caller:
        """Ask the database who presents this key; an empty text is none.

        Raises:
            Unauthorized: A key is needed, and this is no good one.
            Unavailable: The database does not answer.
        """
        if self._is_open:
            self._is_open = not has_keys(self._store)
            self._open_until = self._timer() + OPEN_SECONDS
        if self._is_open:
            return ANYBODY
        key = check_key(self._store, presented)
        implied = (_IMPLIED.get(scope, set()) for scope in key.scopes)
        caller = Caller(key_id=key.key_id, name=key.name, scopes=key.scopes.union(*implied))
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[hash_key(presented)] = (caller, self._timer() + REMEMBERED_SECONDS)
        return caller

    def count(self, caller: Caller, kind: Literal["worker", "person"]) -> None:
        """Count a request of a key.

        Raises:
            TooManyRequests: It has sent too many in the last minute.
        """
        if caller is not ANYBODY:
            self._hit(kind, f"{kind}-{caller.key_id}")

    def count_stranger(self, address: str) -> None:
        """Count a request without a good key, by the address that it came from.

        Raises:
            TooManyRequests: As `count`.
        """
        self._hit("person", f"address-{hash(address) % ADDRESS_BUCKETS}")

    def _hit(self, kind: Literal["worker", "person"], who: str) -> None:
        limit = self._limits[kind]
        if not self._limiter.hit(limit, who):
            frees_at, _ = self._limiter.get_window_stats(limit, who)
            raise TooManyRequests(limit.amount, max(1, math.ceil(frees_at - time.time())))
