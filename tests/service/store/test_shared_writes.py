"""Writes that wait for their turn share a transaction, and each comes out as if it were alone."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import chain
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from service.errors import Unavailable
from service.store import shared_writes
from service.store.optuna.tables import studies
from service.store.shared_writes import SharedWrites
from service.store.sql.statements import Statement
from service.store.store import Store
from service.store.transaction import Transaction

Act = Callable[[Transaction], Any]


class Book:
    """What stands in for a database: numbers, of which a transaction stages some."""

    def __init__(self) -> None:
        self.commits: list[list[int]] = []
        self.shared = SharedWrites(self.turn, self.transaction)
        self.is_free = threading.Lock()
        self.arrived = threading.Semaphore(0)
        self.faults: dict[str, Exception] = {}
        self.n_opened = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.arrived.release()
        with self.is_free:
            yield

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        self.n_opened += 1
        self._fail_at("opening")
        staged: list[int] = []
        yield cast(Transaction, staged)
        self._fail_at("commit")
        self.commits.append(staged)

    def _fail_at(self, moment: str) -> None:
        if moment in self.faults:
            raise self.faults[moment]

    def have_all_wait(self, acts: Sequence[Act]) -> list[Future[Any]]:
        """Have ``acts`` wait for a turn, in their order, and then take it."""
        with ThreadPoolExecutor(len(acts)) as threads, self.is_free:
            answers = []
            for act in acts:
                answers.append(threads.submit(self.shared.write, act))
                self.arrived.acquire()
        return answers


def stage(number: int, tx: Transaction) -> int:
    cast(list[int], tx).append(number)
    return -number


def fail(number: int, tx: Transaction) -> int:
    stage(number, tx)
    raise ArithmeticError(number)


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_each_is_committed_or_raises_by_itself(goods: list[bool]) -> None:
    book = Book()
    answers = book.have_all_wait([partial(stage if good else fail, number) for number, good in enumerate(goods)])
    for number, (good, answer) in enumerate(zip(goods, answers, strict=True)):
        if good:
            assert answer.result() == -number
        else:
            with pytest.raises(ArithmeticError, match=str(number)):
                answer.result()
    assert list(chain(*book.commits)) == [number for number, good in enumerate(goods) if good]
    if all(goods):
        assert len(book.commits) == 1


def test_a_transaction_that_has_taken_long_leaves_the_rest_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book()
    times = iter(range(100))
    monkeypatch.setattr(shared_writes, "monotonic", lambda: next(times) / 2 * shared_writes.SHARED_SECONDS)
    answers = book.have_all_wait([partial(stage, number) for number in range(4)])
    assert [answer.result() for answer in answers] == [0, -1, -2, -3]
    assert book.commits == [[0], [1], [2], [3]]


@pytest.mark.parametrize("moment", ["opening", "commit"])
@pytest.mark.parametrize(
    ("error", "n_opened"),
    [
        pytest.param(Unavailable("locked"), 1, id="nobody-asks-again-who-does-not-answer"),
        pytest.param(ArithmeticError("a mistake"), 4, id="each-is-tried-by-itself"),
    ],
)
def test_what_goes_wrong_around_what_is_written_is_told_to_each(error: Exception, n_opened: int, moment: str) -> None:
    book = Book()
    book.faults[moment] = error
    answers = book.have_all_wait([partial(stage, number) for number in range(3)])
    for answer in answers:
        with pytest.raises(type(error), match=str(error)):
            answer.result()
    assert (book.n_opened, book.commits) == (n_opened, [])


def test_who_has_waited_for_too_long_writes_nothing_later() -> None:
    book = Book()

    @contextmanager
    def too_long() -> Iterator[None]:
        raise Unavailable("others have had the database")
        yield

    late = SharedWrites(too_long, book.transaction)
    with pytest.raises(Unavailable, match="others"):
        late.write(partial(stage, 1))
    late._turn = book.turn
    assert late.write(partial(stage, 2)) == -2
    assert book.commits == [[2]]


def test_each_writes_in_the_context_of_its_own_request() -> None:
    request: ContextVar[int] = ContextVar("request")
    book = Book()

    def of(number: int) -> Any:
        request.set(number)
        return book.shared.write(lambda _: request.get())

    with ThreadPoolExecutor(3) as threads, book.is_free:
        answers = [threads.submit(of, number) for number in range(3)]
        for _ in answers:
            book.arrived.acquire()
    assert [answer.result() for answer in answers] == [0, 1, 2]


def test_a_store_keeps_what_is_written_together(store: Store) -> None:
    def add(name: str, tx: Transaction) -> str:
        tx.connection.execute(insert(studies), {"study_name": name})
        if name == "bad":
            raise ArithmeticError
        return name

    names = ["a", "b", "bad", "c", "d"]
    with ThreadPoolExecutor(len(names)) as threads:
        answers = [threads.submit(store.together, 1, partial(add, name)) for name in names]
    assert [name for name, answer in zip(names, answers, strict=True) if answer.exception() is None] == list("abcd")
    with store.reading() as tx:
        assert set(tx.connection.execute(select(studies.c.study_name)).scalars()) == set("abcd")


def test_what_is_written_at_the_end_is_written_in_the_order_of_keys(store: Store) -> None:
    add = Statement(insert(studies))
    with store.writing() as tx:
        for key in ("b", "c", "a"):
            tx.write_at_end(key, add.rows(study_name=key))
        assert list(tx.connection.execute(select(studies.c.study_name))) == []
    with store.reading() as tx:
        found = tx.connection.execute(select(studies.c.study_name).order_by(studies.c.study_id))
        assert list(found.scalars()) == ["a", "b", "c"]
