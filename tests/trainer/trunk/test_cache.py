"""The folder of cached trunks: shared, within its budget, and never wrong."""

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from trainer.cli import engine_command
from trainer.trunk import cache as module
from trainer.trunk import entry as entry_module
from trainer.trunk.cache import CacheUnavailable, TrunkCache
from trainer.trunk.entry import TrunkEntry, entry_bytes, write_entry
from trainer.user_cache import user_cache

N_ROWS, WIDTH = 5, 64
SIZE = entry_bytes(N_ROWS, N_ROWS * (N_ROWS + 1) // 2, WIDTH, 4)


def row(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """One token more than the row before."""
    return np.full((number + 1, WIDTH), float(number), dtype=np.float32)


def write(file: IO[bytes]) -> float:
    return write_entry(file, N_ROWS, ((number, row(number)) for number in reversed(range(N_ROWS))))


def refuse(_file: IO[bytes]) -> float:
    raise AssertionError("made twice")


def is_whole(entry: TrunkEntry) -> bool:
    return all(np.array_equal(entry.row(number), row(number)) for number in range(N_ROWS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> TrunkCache:
    return TrunkCache(folder, 3 * SIZE)


def keys(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.trunk")}


def test_an_entry_gives_back_what_was_written(cache: TrunkCache, folder: Path) -> None:
    assert is_whole(cache.entry("a", SIZE, write))
    assert (folder / "a.trunk").stat().st_size == SIZE
    assert not list(folder.glob("*.partial"))


def test_an_entry_is_made_once(cache: TrunkCache, folder: Path) -> None:
    cache.entry("a", SIZE, write)
    assert is_whole(cache.entry("a", SIZE, refuse))
    assert is_whole(TrunkCache(folder, 0).entry("a", SIZE, refuse))


def test_contents_are_checked_again_only_if_the_file_has_changed(
    cache: TrunkCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []
    checksum = entry_module._checksum
    monkeypatch.setattr(entry_module, "_checksum", lambda *content: checks.append(0) or checksum(*content))
    cache.entry("a", SIZE, write)
    for _ in range(2):  # so young that a second write might not show
        checks.clear()
        assert not cache.entry("a", SIZE, refuse).is_settled
        assert len(checks) == 1
    file = folder / "a.trunk"
    for written_at in (1_000, 2_000):
        os.utime(file, (0, written_at))
        checks.clear()
        for _ in range(3):
            assert is_whole(cache.entry("a", SIZE, refuse))
        assert len(checks) == 1


def test_while_one_makes_an_entry_another_waits_for_it(folder: Path) -> None:
    begun, awaited = threading.Event(), threading.Event()

    def write_slowly(file: IO[bytes]) -> float:
        begun.set()
        assert awaited.wait(10)
        return write(file)

    maker = threading.Thread(target=TrunkCache(folder, 3 * SIZE).entry, args=("a", SIZE, write_slowly))
    maker.start()
    assert begun.wait(10)

    def sleep(_seconds: float) -> None:
        awaited.set()
        maker.join(10)

    assert is_whole(TrunkCache(folder, 3 * SIZE, sleep=sleep).entry("a", SIZE, refuse))


def test_waiting_has_an_end(folder: Path) -> None:
    slept: list[float] = []
    waiting = TrunkCache(folder, 3 * SIZE, sleep=slept.append)

    def write_meanwhile(file: IO[bytes]) -> float:
        with pytest.raises(CacheUnavailable, match="another process has been writing the entry a… for 300 s"):
            waiting.entry("a", SIZE, refuse)
        return write(file)

    assert is_whole(TrunkCache(folder, 3 * SIZE).entry("a", SIZE, write_meanwhile))
    assert sum(slept) == pytest.approx(module.WAIT_SECONDS, abs=0.2)


def test_what_a_killed_process_has_begun_is_made_by_the_next(cache: TrunkCache, folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from trainer.trunk.cache import TrunkCache\n"
        "def write(file): file.write(b'half'); file.flush(); print(flush=True); time.sleep(60)\n"
        f"TrunkCache(Path(sys.argv[1]), {3 * SIZE}).entry('a', {SIZE}, write)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        assert (folder / "a.partial").exists()
        os.kill(maker.pid, signal.SIGKILL)
    assert is_whole(cache.entry("a", SIZE, write))
    assert os.listdir(folder).count("a.partial") == 0


def test_what_a_killed_process_has_begun_takes_no_room_from_others(cache: TrunkCache, folder: Path) -> None:
    folder.mkdir()
    (folder / "dead.partial").write_bytes(bytes(3 * SIZE))
    assert is_whole(cache.entry("a", SIZE, write))
    assert not (folder / "dead.partial").exists()


def test_the_least_recently_used_goes_first(cache: TrunkCache, folder: Path) -> None:
    for age, key in enumerate(("c", "b", "a")):
        cache.entry(key, SIZE, write)
        os.utime(folder / f"{key}.trunk", (age, age))
    cache.entry("c", SIZE, refuse)
    gc.collect()
    cache.entry("d", SIZE, write)
    assert keys(folder) == {"a", "c", "d"}


def test_what_is_in_use_stays(cache: TrunkCache, folder: Path) -> None:
    used = [cache.entry(key, SIZE, write) for key in ("a", "b")]
    cache.entry("c", SIZE, write)
    gc.collect()
    used.append(cache.entry("d", SIZE, write))
    assert keys(folder) == {"a", "b", "d"}
    with pytest.raises(CacheUnavailable, match=r"do not fit into a budget .* raise --cache-bytes"):
        cache.entry("e", SIZE, write)
    assert keys(folder) == {"a", "b", "d"}
    assert all(map(is_whole, used))


def test_what_another_process_uses_stays(cache: TrunkCache, folder: Path) -> None:
    cache.entry("a", SIZE, write)
    program = (
        "import sys; from pathlib import Path; from trainer.trunk.cache import TrunkCache\n"
        "held = TrunkCache(Path(sys.argv[1]), 0).entry('a', 0, None); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        gc.collect()
        for key in ("b", "c", "d"):
            cache.entry(key, SIZE, write)
        assert "a" in keys(folder)
        user.kill()
    gc.collect()
    cache.entry("e", SIZE, write)
    assert "a" not in keys(folder)


def test_more_than_the_budget_evicts_nothing(cache: TrunkCache, folder: Path) -> None:
    cache.entry("a", SIZE, write)
    gc.collect()
    with pytest.raises(CacheUnavailable, match="do not fit into a budget"):
        cache.entry("b", 4 * SIZE, write)
    assert keys(folder) == {"a"}


def _fill_disk(_file: IO[bytes]) -> float:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_nothing_behind(cache: TrunkCache, folder: Path) -> None:
    with pytest.raises(CacheUnavailable, match="No space left on device"):
        cache.entry("a", SIZE, _fill_disk)
    assert not keys(folder)
    assert not list(folder.glob("*.partial"))


def test_the_last_gigabyte_of_a_disk_is_not_taken(
    cache: TrunkCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESERVE_BYTES", 2**62)
    with pytest.raises(CacheUnavailable, match="has no room for"):
        cache.entry("a", SIZE, write)
    assert not keys(folder)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_making_is_passed_on_and_cleaned_up(
    cache: TrunkCache, folder: Path, error: type[BaseException]
) -> None:
    def fail(_file: IO[bytes]) -> None:
        raise error

    with pytest.raises(error):
        cache.entry("a", SIZE, fail)
    assert not list(folder.glob("a.*"))
    assert is_whole(cache.entry("a", SIZE, write))


def test_rows_are_taken_in_the_order_given(cache: TrunkCache) -> None:
    some = cache.entry("a", SIZE, write).take([4, 1])
    assert [some.row(0).tolist(), some.row(1).tolist()] == [row(4).tolist(), row(1).tolist()]


Damage = Callable[[bytearray], object]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.__setitem__(slice(SIZE - 1, SIZE), b"\x01"),
        lambda content: content.__setitem__(slice(521, 522), b"\x01"),
        lambda content: content.__setitem__(slice(11, 12), b"7"),
        lambda content: content.pop(),
        lambda content: content.clear(),
    ],
    ids=["hidden states", "places", "header", "end", "everything"],
)
def test_damage_is_seen(cache: TrunkCache, folder: Path, damage: Damage) -> None:
    cache.entry("a", SIZE, write)
    content = bytearray((folder / "a.trunk").read_bytes())
    damage(content)
    (folder / "a.trunk").write_bytes(content)
    with pytest.raises(AssertionError, match="made twice"):
        cache.entry("a", SIZE, refuse)
    assert is_whole(cache.entry("a", SIZE, write))
    assert is_whole(cache.entry("a", SIZE, refuse))


def test_folder_and_budget_reach_the_engine(tmp_path: Path) -> None:
    command = engine_command("engine", data_roots=[], threads=None, cache_dir=tmp_path, cache_bytes=0)
    assert command[-4:] == ["--cache-dir", str(tmp_path), "--cache-bytes", "0"]


def test_the_users_cache_is_where_the_platform_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "spezia"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache().parent.parent == tmp_path
