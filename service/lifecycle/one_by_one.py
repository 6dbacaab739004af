"""Do something to each of many, so that what fails for one keeps it from no other."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from service.errors import ServiceError

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def one_by_one(items: Iterable[_Item], act: Callable[[_Item], _Done]) -> list[_Done]:
    """Act on each item, and return what came of it.

    Raises:
        ServiceError: The database does not answer; no further item is tried.
        ExceptionGroup: It failed for some items; it was done to all others.
    """
    done: list[_Done] = []
    failures: list[Exception] = []
    for item in items:
        try:
            done.append(act(item))
        except ServiceError:
            raise
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise ExceptionGroup(f"failed for {len(failures)} of {len(failures) + len(done)}", failures)
    return done
