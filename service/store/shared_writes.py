"""Writes of one process that share transactions, where they would wait for each other's lock anyway."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from service.errors import Unavailable
from service.store.transaction import Transaction

SHARED_SECONDS = 0.04
"""For so long a transaction takes in further writes: other writers, and people among them, wait meanwhile."""

A = TypeVar("A")


@dataclass(eq=False)
class _Write:
    act: Callable[[Transaction], Any]
    context: Context = field(default_factory=copy_context)
    """Of the request, whose log lines name what it is about."""
    answer: Future[Any] = field(default_factory=Future)


class SharedWrites:
    """Writes that wait for their turn: whoever has it writes for all that wait, in one transaction with one commit.

    Args:
        turn: Waits until it is this thread's turn to write, and raises `Unavailable` after a while.
        transaction: Opens a transaction that writes, and commits it.
    """

    def __init__(
        self,
        turn: Callable[[], AbstractContextManager[None]],
        transaction: Callable[[], AbstractContextManager[Transaction]],
    ) -> None:
        self._turn = turn
        self._transaction = transaction
        self._waiting: deque[_Write] = deque()

    def write(self, act: Callable[[Transaction], A]) -> A:
        """Return what ``act`` returns, once it is committed.

        Where one of those that share a transaction raises, nothing of it stays, and each has one of its own.

        Raises:
            Unavailable: The database does not answer, or others have had it for too long; nothing has changed.
        """
        mine = _Write(act)
        self._waiting.append(mine)
        try:
            with self._turn():
                while not mine.answer.done():
                    self._commit(self._taken())
        except Unavailable:
            if mine.answer.cancel():
                raise
            # else somebody has begun with it in the last moment
        answer: A = mine.answer.result()
        return answer

    def _taken(self) -> Iterator[_Write]:
        """Those that wait, the longest first, while a transaction has time for more; some come meanwhile."""
        until = monotonic() + SHARED_SECONDS
        while self._waiting and monotonic() < until:
            one = self._waiting.popleft()
            if one.answer.set_running_or_notify_cancel():  # else it has waited for too long
                yield one

    def _commit(self, writes: Iterable[_Write]) -> None:
        begun: list[_Write] = []
        answers: list[Any] = []
        try:
            with self._transaction() as tx:
                for one in writes:
                    begun.append(one)
                    answers.append(one.context.run(one.act, tx))
        except BaseException as error:
            begun = begun or list(writes)  # none, where no transaction could be opened
            if len(begun) > 1 and not isinstance(error, Unavailable):
                for one in begun:
                    self._commit([one])
            else:
                for one in begun:
                    one.answer.set_exception(error)
        else:
            for one, answer in zip(begun, answers, strict=True):
                one.answer.set_result(answer)
