from pathlib import Path

import pytest

from trainer.api_key import BadKeyFile, find_api_key

KEY = f"spz_{'0' * 12}_{'k' * 43}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def test_a_worker_takes_its_key_from_an_option_the_environment_or_a_file_that_it_names(file: Path) -> None:
    named = {"SPEZIA_API_KEY_FILE": str(file)}
    assert find_api_key(None, {}) is None
    assert find_api_key(None, named) == KEY
    assert find_api_key(None, named | {"SPEZIA_API_KEY": "spz_here"}) == "spz_here"
    assert find_api_key(file, {"SPEZIA_API_KEY": "spz_here"}) == KEY


@pytest.mark.parametrize(("mode", "is_closed"), [(0o400, True), (0o440, True), (0o604, False), (0o620, False)])
def test_a_key_file_is_closed_to_others(file: Path, mode: int, is_closed: bool) -> None:
    file.chmod(mode)
    if is_closed:
        assert find_api_key(file, {}) == KEY
        return
    with pytest.raises(BadKeyFile, match=r"is open to others .* chmod 600 it"):
        find_api_key(file, {})


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", f"{KEY} {KEY}".encode()])
def test_what_holds_no_key_is_refused_without_a_word_of_what_it_holds(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(BadKeyFile) as refused:
        find_api_key(file, {})
    assert str(file) in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile, match="/none cannot be read: No such file"):
        find_api_key(None, {"SPEZIA_API_KEY_FILE": str(tmp_path / "none")})
