"""The database of one service process: whoever reads or writes begins here.

    with store.writing() as tx:
        study = studies.lock(tx, name)
        ...

A transaction lives inside one lifecycle function, in one thread. It is committed when the block ends and rolled back
when the block raises. What the block calls takes ``tx`` and never commits.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from functools import partial
from threading import Event, Lock
from typing import Self, TypeVar
from weakref import WeakValueDictionary

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import DatabaseDamaged, Unavailable
from service.metrics import Metrics
from service.store.caches import Caches
from service.store.shared_writes import SharedWrites
from service.store.sql.engine import Clock
from service.store.sql.listen import listen
from service.store.sql.sqlite import BUSY_SECONDS, WRITING, is_damage
from service.store.transaction import Transaction, Viewer
from service.work_signal import WorkSignal

A = TypeVar("A")


class Store:
    """The database of one service process, shared by threads: it opens transactions and commits them."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.metrics = Metrics()
        self._engine = engine
        driver = engine.dialect.loaded_dbapi
        self._unreachable = (
            OperationalError, InterfaceError, PoolTimeout, driver.OperationalError, driver.InterfaceError,
        )  # fmt: skip
        self._errors = (DBAPIError, PoolTimeout, driver.Error)
        self._clock = clock
        self._for_writing = engine.execution_options(**{WRITING: True})
        # SQLite reads one state of the database anyway. On PostgreSQL each statement would see another one, and a
        # trial that ends between two would be cached by halves
        level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        self._for_reading = engine.execution_options(**level)
        self.caches = Caches()
        self.work = WorkSignal()
        self._turn = Lock()
        self._shared = self._sharing(self._turn)
        self._lock = Lock()
        self._shared_by_study: WeakValueDictionary[int, SharedWrites] = WeakValueDictionary()
        """On PostgreSQL, where locks are of studies: those that are in use."""
        self._viewer: Viewer | None = None
        self._open: Transaction | None = None
        """Of a view that `within` made: the transaction that everything done through it belongs to."""

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a short transaction that writes nothing and sees one state of the database throughout.

        Raises:
            DatabaseDamaged: Its file is damaged, or is none of SQLite.
            Unavailable: The database does not answer.
        """
        if self._open is not None:
            yield self._open
            return
        with self.metrics.transaction("reading"), self._transaction(writing=False) as tx:
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Open a transaction that takes SQLite's write lock at once; PostgreSQL locks rows as they are named.

        Raises:
            DatabaseDamaged: Its file is damaged, or is none of SQLite.
            Unavailable: The database does not answer or is locked for too long; nothing has changed.
        """
        if self._open is not None:
            yield self._open
            return
        with self.metrics.transaction("writing"), self._writers_turn(), self._transaction(writing=True) as tx:
            yield tx

    def together(self, study_id: int | None, act: Callable[[Transaction], A]) -> A:
        """Return what ``act`` returns in a transaction for writing, which it may share with others for the same lock.

        Args:
            study_id: The study whose lock ``act`` takes, and no other's; ``None``: it takes others, or that is not
                known yet, so that it shares one only on SQLite, where there is but one lock.

        Raises:
            Unavailable: The database does not answer or is locked for too long; nothing has changed.
        """
        shared = self._shared_with(study_id)
        if shared is None:
            with self.writing() as tx:
                return act(tx)
        with self.metrics.transaction("writing"):
            return shared.write(act)

    def seen_by(self, viewer: Viewer | None) -> Self:
        """Return the same database with other people's studies left out."""
        if viewer == self._viewer:
            return self
        view = copy(self)
        view._viewer = viewer
        return view

    def within(self, tx: Transaction) -> Self:
        """Return the same database for functions that open a transaction of their own, which then is ``tx``.

        What they do is part of ``tx``, which its owner commits.
        """
        view = copy(self)
        view._open = tx
        return view

    def forget(self, study_id: int) -> None:
        """Drop the cached trials of a deleted study; called after the commit of its deletion."""
        self.caches.trials.forget(study_id)

    def listen(self, ended: Event) -> None:
        """Wake whoever waits for work when another service on a PostgreSQL makes some, until told to end."""
        if self._engine.dialect.name == "postgresql":
            listen(self._engine, lambda name: None if name == self.work.name else self.work.notify(), ended)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _shared_with(self, study_id: int | None) -> SharedWrites | None:
        if self._open is not None or self._viewer is not None:
            return None
        if self._engine.dialect.name == "sqlite":
            return self._shared
        if study_id is None:
            return None
        with self._lock:
            shared = self._shared_by_study.get(study_id)
            if shared is None:
                shared = self._shared_by_study[study_id] = self._sharing(Lock())
            return shared

    def _sharing(self, turn: Lock) -> SharedWrites:
        return SharedWrites(partial(self._taking, turn), partial(self._transaction, writing=True))

    def _writers_turn(self) -> AbstractContextManager[None]:
        """On SQLite the writers of one process queue: whoever waits for its lock asks again and again, ever less often,
        and others come first."""
        return self._taking(self._turn) if self._engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def _taking(self, turn: Lock) -> Iterator[None]:
        if not turn.acquire(timeout=BUSY_SECONDS):
            self.metrics.database_errors.labels("busy").inc()
            raise Unavailable(f"{Unavailable.__doc__} (other requests have had the database for {BUSY_SECONDS:g} s)")
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _transaction(self, writing: bool) -> Iterator[Transaction]:
        try:
            with (self._for_writing if writing else self._for_reading).connect() as connection:
                with connection.begin():
                    tx = Transaction(connection, self._clock, self.caches, self.work, self.metrics, self._viewer)
                    yield tx
                    tx.write_rest()
                    tx.runner.commit()
                for study_id, snapshot in tx.trials.snapshots().items():
                    self.caches.trials.put(study_id, snapshot)
            for act in tx.after_commit:
                act()
        except self._errors as error:
            if is_damage(getattr(error, "orig", error)):
                self.metrics.database_errors.labels("damaged").inc()
                raise DatabaseDamaged(_first_line(error)) from error
            if not isinstance(error, self._unreachable) and not _is_forbidden(error):
                raise
            self.metrics.database_errors.labels("busy" if _is_busy(error) else "unreachable").inc()
            raise Unavailable(f"{Unavailable.__doc__} ({_first_line(error)})") from error


def _is_forbidden(error: Exception) -> bool:
    return getattr(getattr(error, "orig", error), "sqlstate", None) == "42501"  # the user lacks a privilege


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
