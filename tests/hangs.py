"""Ends a test process in which a test hangs where pytest-timeout cannot reach it.

That raises in the main thread, once. A thread of a server that spins lets the test fail, and then whoever tears it down
waits for the thread for ever; as does the interpreter in the end. With pytest-xdist the test fails, and a new process
goes on with the others.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator

import pytest

_STDERR = pytest.StashKey[int]()
_GRACE_SECONDS = 30.0
"""For a test that has timed out to be torn down, and for the interpreter to end."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep the true stderr, before tests' output is captured."""
    config.stash[_STDERR] = os.dup(sys.stderr.fileno())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give a test its timeout, and then a while to be torn down."""
    timer = _last_resort(item.config, _timeout(item) + _GRACE_SECONDS, item.nodeid)
    try:
        return (yield)
    finally:
        timer.cancel()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the interpreter a while to end after the last test; pytest-xdist sees to that of its own processes."""
    if not hasattr(session.config, "workerinput"):
        _last_resort(session.config, _GRACE_SECONDS, "the test process")


def _last_resort(config: pytest.Config, seconds: float, what: str) -> threading.Timer:
    def end() -> None:
        faulthandler.dump_traceback(config.stash[_STDERR])
        os.write(config.stash[_STDERR], f"{what} does not end; its threads are above\n".encode())
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def _timeout(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker else item.config.getoption("timeout") or item.config.getini("timeout"))
