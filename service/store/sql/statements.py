"""Statements that every call of a worker runs: worked out once, then run by the driver itself.

SQLAlchemy says what a statement is and how its values are converted. What it does around each execution costs more
than the statement: 20 µs in a loop, 50 between commits, where SQLite itself takes 5; a trial has some 70 statements.
To PostgreSQL, statements that do not wait for each other's answers go in one round trip, and those that only write wait
for the next question or the commit.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql import Executable

from service.failpoints import failpoint

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")

Row = Any
"""One row of an answer: a named tuple of the statement's columns."""
Convert = Callable[[Any], Any]
"""Turns a value into the form that the driver, or the caller, wants."""


class Call(Generic[A]):
    """A statement with its parameters, and with what turns its rows into an answer; `Runner` runs it."""

    __slots__ = ("params", "read", "statement")

    def __init__(self, statement: "Statement", params: Mapping[str, Any], read: Callable[[list[Row]], A]) -> None:
        self.statement = statement
        self.params = params
        self.read = read


class Statement:
    """A statement that is run often, compiled once for each kind of database.

    Args:
        source: The statement, without an ``IN`` with a list of values, whose text would depend on their number; or what
            makes it for a kind of database, where the two spell it in different ways.
    """

    def __init__(self, source: Executable | Callable[[str], Executable]) -> None:
        self._source = source
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, **params: Any) -> Call[list[Row]]:
        """Return a call that answers with the rows."""
        return Call(self, params, as_it_is)

    def first(self, read: Callable[[Row], A], **params: Any) -> Call[A | None]:
        """Return a call that answers with what ``read`` makes of the first row; ``None`` without a row."""
        return Call(self, params, partial(_read_first, read))

    def then(self, read: Callable[[list[Row]], A], **params: Any) -> Call[A]:
        """Return a call that answers with what ``read`` makes of the rows."""
        return Call(self, params, read)

    def compiled(self, dialect: Dialect, names: Iterable[str]) -> "_Compiled":
        """Return the statement as the driver takes it; the names of parameters are the same at each call."""
        known = self._compiled.get(dialect.name)
        if known is None:
            source = self._source if isinstance(self._source, Executable) else self._source(dialect.name)
            known = self._compiled[dialect.name] = _Compiled(source, dialect, names)
        return known


class _Compiled:
    def __init__(self, source: Any, dialect: Dialect, names: Iterable[str]) -> None:
        compiled: Any = source.compile(dialect=dialect, column_keys=None if source.is_select else list(names))
        self.text = str(compiled)
        self._is_positional = compiled.positional
        self._binds: list[tuple[str, Convert | None]] = []
        self._constants: dict[str, Any] = {}
        for name in compiled.positiontup if compiled.positional else compiled.binds:
            bind = compiled.binds[name]
            convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
            self._binds.append((name, convert))
            if not bind.required:
                self._constants[name] = bind.value
        self._columns = list(source.exported_columns)
        row: Any = namedtuple("Row", [column.key for column in self._columns])  # type: ignore[misc]
        self._make: Callable[[Iterable[Any]], Row] = row._make
        self._dialect = dialect
        self._converters: list[tuple[int, Convert]] | None = None

    def values(self, params: Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
        """Parameters as the driver wants them."""
        given = {**self._constants, **params} if self._constants else params
        if self._is_positional:
            return [given[name] if convert is None else convert(given[name]) for name, convert in self._binds]
        return {name: given[name] if convert is None else convert(given[name]) for name, convert in self._binds}

    def rows(self, cursor: Any) -> list[Row]:
        """Rows of a cursor as SQLAlchemy would show them."""
        if not self._columns:
            return []
        if self._converters is None:
            self._converters = self._find_converters(cursor.description)
        if not self._converters:
            return [self._make(row) for row in cursor.fetchall()]
        return [self._make(self._converted(row, self._converters)) for row in cursor.fetchall()]

    def _find_converters(self, description: Any) -> list[tuple[int, Convert]]:
        found = (
            column.type.dialect_impl(self._dialect).result_processor(self._dialect, shown[1])
            for column, shown in zip(self._columns, description, strict=True)
        )
        return [(index, convert) for index, convert in enumerate(found) if convert is not None]

    def _converted(self, row: Sequence[Any], converters: list[tuple[int, Convert]]) -> list[Any]:
        values = list(row)
        for index, convert in converters:
            values[index] = convert(values[index])
        return values


class Runner:
    """Runs calls on one connection, within its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._dialect = connection.dialect
        self._driver: Any = connection.connection.driver_connection
        self._waits = connection.dialect.name == "postgresql"
        self._later: list[Call[Any]] = []

    @property
    def connection(self) -> Connection:
        """The connection of SQLAlchemy, for all other statements; all that was to be written has been written to it."""
        if self._later:
            self._run([])
        return self._connection

    @overload
    def ask(self, one: Call[A], /) -> A: ...
    @overload
    def ask(self, one: Call[A], two: Call[B], /) -> tuple[A, B]: ...
    @overload
    def ask(self, one: Call[A], two: Call[B], three: Call[C], /) -> tuple[A, B, C]: ...
    @overload
    def ask(self, one: Call[A], two: Call[B], three: Call[C], four: Call[D], /) -> tuple[A, B, C, D]: ...
    @overload
    def ask(
        self, one: Call[A], two: Call[B], three: Call[C], four: Call[D], five: Call[E], /
    ) -> tuple[A, B, C, D, E]: ...
    def ask(self, *calls: Call[Any]) -> Any:
        """Run calls in order and return their answers; on PostgreSQL it is one round trip."""
        answers = self._run(calls)
        return answers[0] if len(calls) == 1 else tuple(answers)

    def write(self, call: Call[Any]) -> None:
        """Run a call whose answer nobody waits for, before whatever comes next."""
        if self._waits:
            self._later.append(call)
        else:
            self._run([call])

    def commit(self) -> None:
        """Write what is left and commit, in one round trip; the connection's own commit then has nothing to do."""
        if self._later:
            self._run([], commits=True)

    def _run(self, calls: Sequence[Call[Any]], *, commits: bool = False) -> list[Any]:
        all_calls = [*self._later, *calls]
        self._later = []
        ready = [(call, call.statement.compiled(self._dialect, call.params)) for call in all_calls]
        try:
            rows = self._in_one_trip(ready, commits) if self._waits else [self._fetch(*one) for one in ready]
        except self._dialect.loaded_dbapi.Error as error:
            if self._dialect.is_disconnect(error, self._driver, None):
                self._connection.invalidate(error)
            raise
        answers = [call.read(found) for call, found in zip(all_calls, rows, strict=True)]
        return answers[len(answers) - len(calls) :]

    def _in_one_trip(self, ready: Sequence[tuple[Call[Any], _Compiled]], commits: bool) -> list[list[Row]]:
        # a pipeline has a price, and saves nothing where there is nothing to join
        if len(ready) == 1 and not commits and self._driver.info.transaction_status.name == "INTRANS":
            return [self._fetch(*ready[0])]
        with self._driver.pipeline():
            cursors = [self._execute(*one) for one in ready]
            if commits:
                self._driver.commit()
        return [compiled.rows(cursor) for cursor, (_, compiled) in zip(cursors, ready, strict=True)]

    def _fetch(self, call: Call[Any], compiled: _Compiled) -> list[Row]:
        return compiled.rows(self._execute(call, compiled))

    def _execute(self, call: Call[Any], compiled: _Compiled) -> Any:
        failpoint("statement")
        return self._driver.execute(compiled.text, compiled.values(call.params))


def as_it_is(shown: A) -> A:
    """Return a row, or rows, unchanged."""
    return shown


def _read_first(read: Callable[[Row], A], rows: list[Row]) -> A | None:
    return read(rows[0]) if rows else None
