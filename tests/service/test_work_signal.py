"""Who is woken by a word, and that none is lost."""

from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from service.work_signal import WorkSignal

LONG = 60.0


async def settle() -> None:
    """Let whoever was woken go on."""
    for _ in range(10):
        await checkpoint()


def test_each_word_wakes_the_one_that_has_waited_longest() -> None:
    woken = []

    async def wait(signal: WorkSignal, number: int) -> None:
        assert await signal.wait(signal.mark(), LONG)
        woken.append(number)

    async def main() -> None:
        signal = WorkSignal()
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(wait, signal, number)
                await settle()
            for n_words in range(1, 4):
                await anyio.to_thread.run_sync(signal.notify)
                await settle()
                assert woken == list(range(n_words))
                assert signal.n_waiting == 3 - n_words

    anyio.run(main)


def test_what_is_said_before_the_wait_and_after_the_look_is_not_missed() -> None:
    async def main() -> None:
        signal = WorkSignal()
        mark = signal.mark()
        signal.notify()
        assert await signal.wait(mark, LONG)
        assert not await signal.wait(signal.mark(), 0.0)

    anyio.run(main)


def test_a_word_goes_round_once() -> None:
    """Whoever has looked since the last word is not woken by its being passed on."""
    n_looks = 0

    async def wait(signal: WorkSignal) -> None:
        nonlocal n_looks
        mark = signal.mark()
        while await signal.wait(mark, 0.2):
            mark = signal.mark()
            n_looks += 1
            signal.pass_on()

    async def main() -> None:
        signal = WorkSignal()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(wait, signal)
            await settle()
            signal.notify()

    anyio.run(main)
    assert n_looks == 5


@pytest.mark.parametrize("is_word_before", [True, False])
def test_a_waiter_that_is_cut_off_leaves_no_word_unheard(is_word_before: bool) -> None:
    heard = []

    async def wait(signal: WorkSignal, name: str) -> None:
        assert await signal.wait(signal.mark(), LONG)
        heard.append(name)

    async def main() -> None:
        signal = WorkSignal()
        async with anyio.create_task_group() as tasks:
            cut_off = anyio.CancelScope()

            async def first() -> None:
                with cut_off:
                    await wait(signal, "cut off")

            tasks.start_soon(first)
            await settle()
            tasks.start_soon(wait, signal, "other")
            await settle()
            steps: list[Callable[[], None]] = [signal.notify, cut_off.cancel]
            for step in steps if is_word_before else reversed(steps):
                step()
            await settle()
            assert heard == ["other"]

    anyio.run(main)
