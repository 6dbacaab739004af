"""Results kept for arguments that have no hash of their own and never change, such as a frozen spec's search space."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Generic, TypeVar

_A = TypeVar("_A")
_R = TypeVar("_R")


class _Same(Generic[_A]):
    """An object by its identity; it is held, so that no other object can get the same id."""

    __slots__ = ("one",)

    def __init__(self, one: _A) -> None:
        self.one = one

    def __hash__(self) -> int:
        return id(self.one)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.one is other.one


def remember(n_kept: int) -> Callable[[Callable[[_A], _R]], Callable[[_A], _R]]:
    """Let a function of one object keep its last ``n_kept`` results, which nobody may change."""

    def decorate(make: Callable[[_A], _R]) -> Callable[[_A], _R]:
        @lru_cache(maxsize=n_kept)
        def kept(same: _Same[_A]) -> _R:
            return make(same.one)

        @wraps(make)
        def remembered(one: _A) -> _R:
            return kept(_Same(one))

        return remembered

    return decorate
