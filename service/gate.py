"""Who may come in: keys, what each may do, and how often."""

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
from service.lifecycle.keys.key_text import hash_key
from service.lifecycle.keys.sessions import check_session
from service.store.store import Store
from service.store.transaction import Viewer
from spezia.contract.key import Scope

REMEMBERED_SECONDS = 5.0
"""Seconds for which a good key is not looked up again, and so for which a key that was revoked may still come in."""
OPEN_SECONDS = 1.0
"""Seconds for which a service without keys may stay open after the first key was made."""
MAX_REMEMBERED = 1024
"""How many good keys are remembered at once."""
ADDRESS_BUCKETS = 4096
"""Number of counters that callers without a key share, so that memory is bounded however many addresses they have."""

_IMPLIED = {Scope.ADMIN: frozenset(Scope), Scope.WRITE: {Scope.READ}}


@dataclass(frozen=True)
class Caller:
    """Who has sent a request, as the key shows, and what they may do."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    """Scopes of the key, with those that they imply."""

    def check(self, needed: frozenset[Scope], call: str) -> None:
        """Return if the caller has one of the scopes ``needed``.

        Args:
            call: Method and path, for the message.

        Raises:
            Forbidden: The caller has none of them.
        """
        if not self.scopes & needed:
            raise Forbidden(call, sorted(needed), sorted(self.scopes))

    @property
    def viewer(self) -> Viewer | None:
        """Whose studies the caller sees; ``None`` where nobody has a key and so everybody sees all studies."""
        return None if self is ANYBODY else Viewer(owner=self.name, sees_all=Scope.ADMIN in self.scopes)


ANYBODY = Caller(key_id="", name="", scopes=frozenset(Scope))
"""The caller of a service that needs no key, with all scopes."""


class Gate:
    """Decides for one service process who may come in and how often; shared by its threads."""

    def __init__(
        self,
        store: Store,
        *,
        is_private: bool,
        requests_per_minute: int,
        worker_requests_per_minute: int,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the gate; a service that ``is_private``, reached by this machine alone, may do without keys."""
        self._store = store
        self._timer = timer
        self._is_open = is_private
        self._open_until = -math.inf
        self._remembered: dict[tuple[bool, str], tuple[Caller, float]] = {}
        self._lock = threading.Lock()
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits = {
            "worker": RateLimitItemPerMinute(worker_requests_per_minute),
            "person": RateLimitItemPerMinute(requests_per_minute),
        }

    def remembered(self, presented: str, *, is_session: bool = False) -> Caller | None:
        """Return who presents this key, or this token of a session, if that is known without asking the database."""
        now = self._timer()
        if self._is_open and now < self._open_until:
            return ANYBODY
        caller, until = self._remembered.get((is_session, hash_key(presented)), (None, -math.inf))
        return caller if now < until else None

    def look_up(self, presented: str, *, is_session: bool = False) -> Caller:
        """Ask the database who presents this key, or this token of a session; an empty text is no key.

        Raises:
            Unauthorized: A key is needed, and this is not a good one, nor a session's token.
            Unavailable: The database does not answer.
        """
        if self._is_open:
            self._is_open = not has_keys(self._store)
            self._open_until = self._timer() + OPEN_SECONDS
        if self._is_open:
            return ANYBODY
        key = (check_session if is_session else check_key)(self._store, presented)
        implied = (_IMPLIED.get(scope, set()) for scope in key.scopes)
        caller = Caller(key_id=key.key_id, name=key.name, scopes=key.scopes.union(*implied))
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[is_session, hash_key(presented)] = (caller, self._timer() + REMEMBERED_SECONDS)
        return caller

    def forget_session(self, token: str) -> None:
        """Remember nobody by this token of a session, which has ended."""
        with self._lock:
            self._remembered.pop((True, hash_key(token)), None)

    def count(self, caller: Caller, kind: Literal["worker", "person"]) -> None:
        """Count a request of a caller who has shown a good key.

        Raises:
            TooManyRequests: The key has sent too many requests in the last minute.
        """
        if caller is not ANYBODY:
            self._hit(kind, f"{kind}-{caller.key_id}")

    def count_stranger(self, address: str) -> None:
        """Count a request without a good key, by the address that it came from.

        Raises:
            TooManyRequests: The address has sent too many requests in the last minute.
        """
        self._hit("person", f"address-{hash(address) % ADDRESS_BUCKETS}")

    def _hit(self, kind: Literal["worker", "person"], who: str) -> None:
        limit = self._limits[kind]
        if not self._limiter.hit(limit, who):
            frees_at, _ = self._limiter.get_window_stats(limit, who)
            raise TooManyRequests(limit.amount, max(1, math.ceil(frees_at - time.time())))
