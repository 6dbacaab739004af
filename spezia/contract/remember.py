"""Results kept for arguments that have no hash of their own and never change, such as a frozen spec's search space."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class _Same(Generic[A]):
    """An object by identity; held, so that no other one comes to lie where it lay."""

    __slots__ = ("one",)

    def __init__(self, one: A) -> None:
        self.one = one

    def __hash__(self) -> int:
        return id(self.one)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.one is other.one


def remember(n_kept: int) -> Callable[[Callable[[A], R]], Callable[[A], R]]:
    """Let a function of one object keep its last ``n_kept`` results, which nobody may change."""

    def decorate(make: Callable[[A], R]) -> Callable[[A], R]:
        @lru_cache(maxsize=n_kept)
        def kept(same: _Same[A]) -> R:
            return make(same.one)

        @wraps(make)
        def remembered(one: A) -> R:
            return kept(_Same(one))

        return remembered

    return decorate
