"""What trials have found out about memory is remembered, for a while."""

from pathlib import Path

import pytest

from trainer.model.memory_hints import TRUSTED_SECONDS, MemoryHints


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def test_hint_that_was_cut_short_is_none(tmp_path: Path) -> None:
    MemoryHints(tmp_path).remember("key", 5)
    (file,) = tmp_path.iterdir()
    assert MemoryHints(tmp_path).recall("key", 100) == 5
    assert MemoryHints(tmp_path).recall("key", 4) == 4
    for content in ("", "{}"):
        file.write_text(content)
        assert MemoryHints(tmp_path).recall("key", 100) == 100


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_old_hint_grows_until_it_is_wrong(tmp_path: Path, is_shared: bool) -> None:
    clock = Clock()
    hints = MemoryHints(tmp_path if is_shared else None, clock)
    other = MemoryHints(tmp_path, clock) if is_shared else hints
    hints.remember("key", 10)
    clock.now += TRUSTED_SECONDS - 1
    assert hints.recall("key", 100) == 10
    clock.now += 1
    assert [other.recall("key", 100), hints.recall("key", 100)] == [20, 20]  # tried once, and not by every trial
    other.remember("key", 10)  # it did not fit
    clock.now += TRUSTED_SECONDS - 1
    assert hints.recall("key", 100) == 10
    grown = []
    for _ in range(5):
        clock.now += TRUSTED_SECONDS
        grown.append(hints.recall("key", 100))
    assert grown == [20, 40, 80, 100, 100]
