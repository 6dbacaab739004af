"""What one database transaction offers to whoever is called inside it: statements, Optuna's storage, and one instant.

`Store` opens transactions and commits them. A function that takes ``tx`` executes within it and never commits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection

from service.metrics import Metrics
from service.store.caches import Caches
from service.store.optuna.storage import SqlStorage
from service.store.sql.engine import Clock
from service.store.sql.listen import saying
from service.store.sql.statements import Call, Runner
from service.work_signal import WorkSignal

A = TypeVar("A")


@dataclass(frozen=True)
class Viewer:
    """The person to whom the database is shown, by the name of the key."""

    owner: str
    sees_all: bool


class Transaction:
    """One open transaction on one connection, used by one thread.

    Args:
        viewer: Whose studies are found by name, and whose a new one is; ``None``: everybody's, and nobody's.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        caches: Caches,
        work: WorkSignal,
        metrics: Metrics,
        viewer: Viewer | None,
    ) -> None:
        self.metrics = metrics
        self.viewer = viewer
        self.after_commit: list[Callable[[], object]] = []
        """Called when all this is committed: counts and log lines of what would else not have happened."""
        self.runner = Runner(connection)
        self.ask = self.runner.ask
        self.write = self.runner.write
        self.caches = caches
        self.trials = SqlStorage(self.runner, lambda: self.now, caches.trials)
        """Optuna's storage, inside this transaction."""
        self._at_end: dict[str, Call[Any]] = {}
        self._work = work
        self.has_others = connection.dialect.name == "postgresql"
        """Whether other services may share the database, so that several write at the same time."""
        self._clock = clock
        self._asked_clock = clock.asked_of(connection.dialect.name)
        self._now: datetime | None = None

    @property
    def connection(self) -> Connection:
        """The connection of SQLAlchemy, for statements that are not run often."""
        return self.runner.connection

    @property
    def now(self) -> datetime:
        """The one instant of this transaction; it is first asked for after the study's lock is held."""
        if self._now is None and self._asked_clock is not None:
            self._now = self.ask(self._asked_clock)
        elif self._now is None:
            self._now = self._clock.now()
        return self._now

    @property
    def about_now(self) -> datetime:
        """This process's own time, which need not be asked for: good enough to guess by, not to decide by."""
        return self._clock.now()

    def write_at_end(self, key: str, call: Call[Any]) -> None:
        """Write right before the commit, in the order of keys.

        It is for rows that others lock without their study's lock: two transactions that write several of them never
        wait for each other.
        """
        self._at_end[key] = call

    def write_rest(self) -> None:
        """Write what was to be written at the end; called by whoever commits."""
        for key in sorted(self._at_end):
            self.write(self._at_end[key])

    def make_work(self) -> None:
        """Wake whoever waits for work, here and in other services, once this is committed."""
        if self._work.notify in self.after_commit:
            return
        self.after_commit.append(self._work.notify)
        if self.has_others:
            self.write(saying(self._work.name))

    def expect_now(self) -> None:
        """Look at the clock along with the next question, in one round trip instead of two."""
        if self._now is None and (asked := self._asked_clock) is not None:
            self.write(asked.statement.then(lambda rows: self._see(asked.read(rows))))

    def lock(self, call: Call[Any]) -> None:
        """Take a lock along with the next question, and look at the clock behind it."""
        self.write(call)
        self.expect_now()

    def lock_for(self, call: Call[A]) -> A:
        """Take a lock at once and return what the call answers; look at the clock behind it."""
        asked = self._asked_clock
        if self._now is not None or asked is None:
            return self.ask(call)
        answer, now = self.ask(call, asked)
        self._see(now)
        return answer

    def _see(self, now: datetime) -> None:
        self._now = now
