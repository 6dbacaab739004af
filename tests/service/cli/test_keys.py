"""`spezia key`, on the database itself."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.run import curl_lines
from spezia.cli.main import app
from spezia.contract.key import KEY_PATTERN, KEY_VARIABLE

Key = Callable[..., Result]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    def invoke(*arguments: str) -> Result:
        environment = {"SPEZIA_HOME": str(tmp_path / "home"), "COLUMNS": "120"}
        return CliRunner().invoke(app, ["key", *arguments], env=environment)

    return invoke


def test_a_key_is_made_shown_once_listed_and_revoked(key: Key) -> None:
    made = key("create", "alice", "--scope", "read", "--scope", "worker", "--expires-days", "30")
    assert made.exit_code == 0, made.output
    assert re.fullmatch(KEY_PATTERN, made.stdout.strip())
    key_id, secret = made.stdout.strip().split("_", 2)[1:]
    listed = key("list").stdout
    for expected in (key_id, "alice", "read worker", "good"):
        assert expected in listed
    assert secret not in listed
    assert "revoked" in key("revoke", key_id).stdout
    assert "revoked" in key("list").stdout


def test_a_second_key_of_a_name_is_told_of_the_first(key: Key) -> None:
    first = key("create", "alice").stdout.split("_")[1]
    assert first in key("create", "alice").stderr
    assert first not in key("create", "bob").stderr


def test_a_key_for_a_container_goes_to_a_file_for_its_owner_alone_and_once(key: Key, tmp_path: Path) -> None:
    file = tmp_path / "worker"
    for _ in range(2):
        made = key("create", "worker", "--scope", "worker", "--to", str(file))
        assert (made.exit_code, made.stdout) == (0, "")
    assert re.fullmatch(KEY_PATTERN, file.read_text().strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key("list").stdout.count("worker") == 2  # one row: name and scope
    first = file.read_text()
    key("revoke", first.split("_")[1])
    key("create", "worker", "--scope", "worker", "--to", str(file))
    assert file.read_text() != first
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["worker"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "Alice B"], "a-z"),
        (["create", "alice", "--scope", "root"], "root"),
        (["revoke", "0" * 12], "spezia key list"),
        (["list", "--database", "mysql://me:hunter2@host/db"], "neither sqlite"),
        (["create", "alice", "--to", "/none/such"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_said(key: Key, arguments: list[str], message: str) -> None:
    refused = key(*arguments)
    assert refused.exit_code != 0
    assert message in refused.stderr
    assert "hunter2" not in refused.stderr


def test_curl_lines_name_the_variable_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "spz_canary")
    lines = curl_lines("http://127.0.0.1:1", "toy", Path("toy.json"))
    assert all('-H "Authorization: Bearer $SPEZIA_API_KEY"' in line for line in lines)
    assert "canary" not in "".join(lines)
