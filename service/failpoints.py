"""Places where a test makes this process die, fail, or stand still while others go on.

    SPEZIA_FAILPOINTS="report.after_commit=kill@2" spezia serve

kills the process the second time it has committed a report and not yet answered. ``raise`` instead of ``kill``
fails there once; behind a commit that is what a lost reply looks like, because the caller hears 500. Off, a
failpoint costs one look at an empty dictionary. Names end in what has just happened: ``….before_commit`` with all
statements done, ``….after_commit`` with the reply not yet on its way.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENVIRONMENT = "SPEZIA_FAILPOINTS"


class Injected(Exception):
    """A failpoint that was armed with ``raise`` has raised."""


_armed: dict[str, Callable[[], None]] = {}


def failpoint(name: str) -> None:
    """Do what is armed at the failpoint ``name``; nothing is armed outside tests."""
    if _armed and name in _armed:
        _armed[name]()


@contextmanager
def armed(name: str, action: Callable[[], None]) -> Iterator[None]:
    """Run ``action`` in each thread that reaches the failpoint ``name``, each time, as long as the block lasts."""
    before = dict(_armed)
    _armed[name] = action
    try:
        yield
    finally:
        _armed.clear()
        _armed.update(before)


def arm_from(text: str) -> None:
    """Arm failpoints: ``name=kill`` or ``name=raise``, with ``@n`` for the n-th time, separated by ``;``.

    Raises:
        ValueError: The text has another form.
    """
    for one in filter(None, text.split(";")):
        name, _, action = one.partition("=")
        verb, _, time = action.partition("@")
        if verb not in ("kill", "raise"):
            raise ValueError(f"{ENVIRONMENT}: {one!r} is not NAME=kill or NAME=raise, with @N for the N-th time")
        _armed[name.strip()] = _Countdown(name, verb, int(time or 1))


class _Countdown:
    """Acts the n-th time and never again."""

    def __init__(self, name: str, verb: str, times: int) -> None:
        self._name = name
        self._verb = verb
        self._left = times

    def __call__(self) -> None:
        self._left -= 1
        if self._left != 0:
            return
        if self._verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise Injected(self._name)


arm_from(os.environ.get(ENVIRONMENT, ""))
