"""A process ends with its parent: by its stdin, by the kernel, or by both."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from spezia.common.parent import end_by_kernel
from tests.mortal_parent import SECONDS, MortalParent

COUNTING = """
import os, signal, sys
from spezia.common.parent import end_with_parent
n_signals, (told, tell) = 0, os.pipe()
def count(number, frame):
    global n_signals
    n_signals += 1
    os.write(1, b"%d\\n" % n_signals)
    os.write(tell, b".")
signal.signal(signal.SIGUSR1, count)
end_with_parent(signal.SIGUSR1)
os.write(1, b"ready\\n")
for _ in range(int(sys.argv[1])):
    os.read(told, 1)
"""
"""Writes past `print`, which a signal may find in the middle of its own work, and waits so that no signal is missed."""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")


def counting(n_signals: int, processes: ExitStack) -> MortalParent:
    """The parent of a process that ends, with 0, once it has got so many signals."""
    parent = MortalParent([sys.executable, "-P", "-c", COUNTING, str(n_signals)], processes)
    assert said(parent) == "ready"
    return parent


def said(parent: MortalParent) -> str:
    assert parent.process.stdout is not None
    return parent.process.stdout.readline().strip()


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_closed_stdin_is_the_parents_end(processes: ExitStack) -> None:
    parent = counting(1, processes)
    parent.close_pipe()
    assert parent.process.wait(SECONDS) == 0


@on_linux
def test_the_kernel_tells_of_a_parent_whose_pipe_is_still_open(processes: ExitStack) -> None:
    parent = counting(1, processes)
    parent.end()
    assert parent.process.wait(SECONDS) == 0


@on_linux
def test_the_signal_comes_from_both(processes: ExitStack) -> None:
    parent = counting(2, processes)
    parent.end()
    assert said(parent) == "1"
    parent.close_pipe()
    assert parent.process.wait(SECONDS) == 0


@on_linux
def test_a_kernel_that_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="PR_SET_PDEATHSIG"):
        end_by_kernel(os.getppid(), 10_000)


def test_a_parent_that_is_gone_already_is_noticed(processes: ExitStack) -> None:
    program = "import signal; from spezia.common.parent import end_by_kernel; end_by_kernel(0, signal.SIGTERM)"
    process = processes.enter_context(subprocess.Popen([sys.executable, "-P", "-c", program]))
    assert process.wait(SECONDS) == -signal.SIGTERM
