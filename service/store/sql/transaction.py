"""One transaction, inside one lifecycle function, in one thread.

    with store.writing() as tx:
        study = studies.lock(tx, name)
        ...

It is committed when the block ends and rolled back when the block raises. What the block calls takes ``tx``
and never commits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import Unavailable
from service.metrics import Metrics
from service.store.optuna.storage import SqlStorage
from service.store.optuna.trial_cache import SeenTrials
from service.store.sql.engine import Clock
from service.store.sql.sqlite import BUSY_SECONDS, WRITING
from service.store.sql.statements import Call, Runner

A = TypeVar("A")


@dataclass(frozen=True)
class Viewer:
    """Whom the database is shown to."""

    owner: str
    sees_all: bool


class Transaction:
    viewer: Viewer | None = None
    """Whose studies are found by name, and whose a new one is; ``None``: everybody's, and nobody's."""

    def __init__(self, connection: Connection, clock: Clock, seen: SeenTrials, metrics: Metrics) -> None:
        self.metrics = metrics
        self.after_commit: list[Callable[[], object]] = []
        """Called when all this is committed: counts and log lines of what would else not have happened."""
        self.runner = Runner(connection)
        self.ask = self.runner.ask
        self.write = self.runner.write
        self.seen = seen
        self.trials = SqlStorage(self.runner, lambda: self.now, seen)
        """Optuna's storage, inside this transaction."""
        self._clock = clock
        self._asked_clock = clock.asked_of(connection.dialect.name)
        self._now: datetime | None = None

    @property
    def connection(self) -> Connection:
        """For statements that are not run often."""
        return self.runner.connection

    @property
    def now(self) -> datetime:
        """One instant for all of a transaction; first asked for after the study's lock is held."""
        if self._now is None and self._asked_clock is not None:
            self._now = self.ask(self._asked_clock)
        elif self._now is None:
            self._now = self._clock.now()
        return self._now

    def expect_now(self) -> None:
        """Look at the clock along with the next question: one round trip, not two."""
        if self._now is None and (asked := self._asked_clock) is not None:
            self.write(asked.statement.then(lambda rows: self._see(asked.read(rows))))

    def lock(self, call: Call[Any]) -> None:
        """Take a lock along with the next question, and look at the clock behind it."""
        self.write(call)
        self.expect_now()

    def lock_for(self, call: Call[A]) -> A:
        """As `lock`, at once and for what the call answers."""
        asked = self._asked_clock
        if self._now is not None or asked is None:
            return self.ask(call)
        answer, now = self.ask(call, asked)
        self._see(now)
        return answer

    def _see(self, now: datetime) -> None:
        self._now = now


class Store:
    """The database of one service process; shared by threads."""

    _viewer: Viewer | None = None

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.metrics = Metrics()
        self._engine = engine
        driver = engine.dialect.loaded_dbapi
        self._driver_errors = (driver.OperationalError, driver.InterfaceError)
        self._clock = clock
        self._for_writing = engine.execution_options(**{WRITING: True})
        # SQLite reads one state of the database anyway. On PostgreSQL each statement would see another one, and a
        # trial that ends between two would be cached by halves
        level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._for_reading = engine.execution_options(**level)
        self._seen = SeenTrials()
        self._turn = Lock()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A short transaction that writes nothing and sees one state of the database throughout.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.metrics.transaction("reading"), self._transaction(writing=False) as tx:
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that takes SQLite's write lock at once; PostgreSQL locks rows as they are named.

        Raises:
            Unavailable: The database does not answer or is locked for too long; nothing has changed.
        """
        with self.metrics.transaction("writing"), self._writers_turn(), self._transaction(writing=True) as tx:
            yield tx

    def seen_by(self, viewer: Viewer | None) -> Self:
        """The same database with other people's studies left out."""
        view = copy(self)
        view._viewer = viewer
        return view

    def forget(self, study_id: int) -> None:
        """Drop what is cached of a deleted study; called after the commit of its deletion."""
        self._seen.forget(study_id)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _writers_turn(self) -> Iterator[None]:
        """On SQLite the writers of one process queue: whoever waits for its lock asks again and again, ever less often,
        and others come first."""
        if self._engine.dialect.name != "sqlite":
            yield
            return
        if not self._turn.acquire(timeout=BUSY_SECONDS):
            self.metrics.database_errors.labels("busy").inc()
            raise Unavailable(f"{Unavailable.__doc__} (other requests have had the database for {BUSY_SECONDS:g} s)")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _transaction(self, writing: bool) -> Iterator[Transaction]:
        try:
            with (self._for_writing if writing else self._for_reading).connect() as connection:
                with connection.begin():
                    tx = Transaction(connection, self._clock, self._seen, self.metrics)
                    tx.viewer = self._viewer
                    yield tx
                    tx.runner.commit()
                for study_id, picture in tx.trials.pictures().items():
                    self._seen.show(study_id, picture)
            for act in tx.after_commit:
                act()
        except (OperationalError, InterfaceError, PoolTimeout, *self._driver_errors) as error:
            self.metrics.database_errors.labels("busy" if _is_busy(error) else "unreachable").inc()
            raise Unavailable(f"{Unavailable.__doc__} ({_first_line(error)})") from error


class JoinedStore(Store):
    """For functions that open their own transaction: what they do joins ``tx``, which its owner commits."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.metrics = tx.metrics

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        yield self._tx

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        yield self._tx


def _is_busy(error: Exception) -> bool:
    if isinstance(error, PoolTimeout):
        return True
    original = getattr(error, "orig", error)
    # SQLite says "database is locked"; PostgreSQL's class 40 is deadlock and serialization, 55P03 a lock
    state = getattr(original, "sqlstate", None) or ""
    return state.startswith("40") or state == "55P03" or "locked" in str(original)


def _first_line(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).strip().partition("\n")[0]
