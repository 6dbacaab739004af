"""Downloads stay within their bytes, and what is in use stays whatever that takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fake_service import SPEC, assignment
from trainer.supervisor.download_cache import DownloadCache, uploads_of


def put(folder: Path, sha256: str, n_bytes: int, age: float, *, is_model: bool = False) -> Path:
    """A download that was used ``age`` seconds ago."""
    path = folder / (sha256 if is_model else f"{sha256}.csv")
    file = path / "model.safetensors" if is_model else path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(n_bytes))
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(tmp_path, max_bytes=100)


def names(cache: DownloadCache) -> set[str]:
    return {path.name for path in cache.folder.iterdir()} - {"locks"}


def test_what_was_used_longest_ago_goes_until_the_rest_fits(cache: DownloadCache) -> None:
    put(cache.folder, "a", 60, age=30)
    put(cache.folder, "b", 40, age=10)
    put(cache.folder, "c", 60, age=20, is_model=True)
    with cache.holding(["b"]):
        assert len(names(cache)) == 3
    assert names(cache) == {"b.csv", "c"}


def test_what_is_in_use_stays_though_it_is_too_large(cache: DownloadCache) -> None:
    put(cache.folder, "a", 500, age=30)
    put(cache.folder, "b", 10, age=20)
    with cache.holding(["a"]), cache.holding(["b"]):
        cache.tidy()
        assert names(cache) == {"a.csv", "b.csv"}
    assert names(cache) == set()


def test_what_another_process_uses_stays_until_it_ends(cache: DownloadCache, tmp_path: Path) -> None:
    put(cache.folder, "a", 500, age=30)
    program = (
        "import sys; from pathlib import Path; from trainer.supervisor.download_cache import DownloadCache\n"
        "with DownloadCache(Path(sys.argv[1])).holding(['a']): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        cache.tidy()
        assert names(cache) == {"a.csv"}
        other.kill()
    cache.tidy()
    assert names(cache) == set()


def test_what_was_left_half_downloaded_goes_after_a_day(cache: DownloadCache) -> None:
    (cache.folder / ".b.1").mkdir()
    (cache.folder / ".a.0").write_bytes(b"half")
    os.utime(cache.folder / ".a.0", (time.time() - 90_000,) * 2)
    with cache.holding(["c"]):
        pass
    assert names(cache) == {".b.1"}


def test_an_assignment_uses_its_data_and_its_model() -> None:
    assert uploads_of(assignment()) == set()
    assert SPEC.data is not None
    assert SPEC.model is not None
    data = SPEC.data.model_copy(update={"train": "sha256:a", "test": "sha256:b"})
    model = SPEC.model.model_copy(update={"name": "sha256:c"})
    spec = SPEC.model_copy(update={"data": data, "model": model})
    assert uploads_of(assignment(spec=spec)) == {"a", "b", "c"}
    assert uploads_of(assignment(spec=spec.model_copy(update={"data": None, "model": None}))) == set()
