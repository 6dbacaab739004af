"""When a dispatch that waits looks again, on a clock that is moved by hand."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import pytest

from service.lifecycle.leases.dispatch import NOT_FOR_THIS_WORKER, NOTHING, Found
from service.routes.wait_for_work import POLL_SECONDS, wait_for_work
from service.work_signal import WorkSignal

WORK = Found(cast("list[Any]", ["an assignment"]), is_left=True)


class FakeSignal:
    """Moves the clock instead of waiting, and wakes the waiter as often as it is told."""

    def __init__(self, *wakes_at: float) -> None:
        self.time = 0.0
        self.wakes_at = list(wakes_at)
        self.n_passed_on = 0
        self.n_said = 0
        self.n_waiting = 1

    def mark(self) -> int:
        return 0

    def pass_on(self) -> None:
        self.n_passed_on += 1

    def notify(self) -> None:
        self.n_said += 1

    async def wait(self, _mark: int, seconds: float) -> bool:
        if self.wakes_at and self.wakes_at[0] <= self.time + seconds:
            self.time = self.wakes_at.pop(0)
            return True
        self.time += seconds
        return False


def run(signal: FakeSignal, looks: list[Found | Exception], *, is_gone: bool = False) -> tuple[Found, list[Any]]:
    """Wait for 12 s; return what was found, and at which time each look was made and whether it was the first."""
    made = []

    async def look(is_first: bool) -> Found:
        made.append((signal.time, is_first))
        found = looks[min(len(made), len(looks)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    async def gone() -> bool:
        return is_gone

    waiting: Callable[..., Awaitable[Any]] = wait_for_work
    found = anyio.run(lambda: waiting(look, cast(WorkSignal, signal), 12.0, gone, lambda: signal.time))
    return found, made


def test_what_is_there_is_not_waited_for() -> None:
    assert run(FakeSignal(), [WORK]) == (WORK, [(0.0, True)])


def test_without_a_word_it_looks_every_few_seconds_until_its_time_is_over() -> None:
    assert POLL_SECONDS == 5.0
    assert run(FakeSignal(), [NOTHING]) == (NOTHING, [(0.0, True), (5.0, False), (10.0, False), (12.0, False)])


def test_a_word_lets_it_look_at_once() -> None:
    signal = FakeSignal(0.1, 0.2)
    assert run(signal, [NOTHING, NOTHING, WORK]) == (WORK, [(0.0, True), (0.1, False), (0.2, False)])


@pytest.mark.parametrize(
    ("found", "n_passed_on"), [(WORK, 1), (NOT_FOR_THIS_WORKER, 1), (NOTHING, 0), (RuntimeError("no database"), 1)]
)
def test_a_word_is_passed_on_unless_there_was_nothing(found: Found | Exception, n_passed_on: int) -> None:
    signal = FakeSignal(0.1)
    try:
        run(signal, [NOTHING, found])
    except RuntimeError:
        assert isinstance(found, RuntimeError)
    assert signal.n_passed_on == n_passed_on


def test_what_is_found_without_a_word_is_said_to_the_others() -> None:
    signal = FakeSignal()
    assert run(signal, [NOTHING, WORK]) == (WORK, [(0.0, True), (5.0, False)])
    assert (signal.n_passed_on, signal.n_said) == (0, 1)


@pytest.mark.parametrize("looks", [[NOTHING], [WORK]])
def test_nothing_is_said_where_nothing_waits_for_others(looks: list[Found | Exception]) -> None:
    signal = FakeSignal()
    run(signal, looks)
    assert (signal.n_passed_on, signal.n_said) == (0, 0)


@pytest.mark.parametrize(("n_waiting", "times"), [(50, [0.0, 5.0, 10.0, 12.0]), (90, [0.0, 9.0, 12.0]), (999, [0, 12])])
def test_the_more_wait_the_more_rarely_each_looks_without_a_word(n_waiting: int, times: list[float]) -> None:
    signal = FakeSignal()
    signal.n_waiting = n_waiting
    assert [time for time, _ in run(signal, [NOTHING])[1]] == times


def test_who_is_gone_gets_no_work_and_passes_the_word_on() -> None:
    signal = FakeSignal(0.1)
    assert run(signal, [NOTHING, WORK], is_gone=True) == (NOTHING, [(0.0, True)])
    assert signal.n_passed_on == 1
