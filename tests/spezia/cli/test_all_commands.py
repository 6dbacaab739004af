"""What all commands have in common: a row in docs/command-line.md, exit codes, JSON, errors that say what to do."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from spezia.cli.main import app
from spezia.contract.problem import Code
from tests.service.replies import ScriptedService, problem
from tests.spezia.cli.test_screen import COMMANDS
from tests.spezia_command import STUDY, Spezia

PAGE = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()
ROWS = re.findall(r"^\| (`.*`) \| .* \| (.*)\|$", PAGE, flags=re.MULTILINE)
DOCUMENTED = {
    command: bool(json.strip()) for commands, json in ROWS for command in re.findall(r"`([a-z ]+)`", commands)
}
"""Commands of the page, and whether they print JSON."""


def every_command() -> Iterator[tuple[str, bool]]:
    """Each command with whether it takes ``--json``."""
    pending = dict(get_command(app).commands)
    while pending:
        name, command = pending.popitem()
        if hasattr(command, "commands"):
            pending |= {f"{name} {inner}": one for inner, one in command.commands.items()}
        else:
            yield name, any("--json" in parameter.opts for parameter in command.params)


def test_the_page_lists_every_command_and_which_of_them_print_json() -> None:
    assert dict(every_command()) == DOCUMENTED


def test_every_command_that_speaks_http_is_tried_here() -> None:
    joined = {"run", "serve", "key create", "key list", "key revoke"}
    joined |= {f"db {deed}" for deed in ("upgrade", "check", "backup", "restore", "copy", "prune")}
    assert {name for name, _ in every_command()} - joined - {"init", "doctor"} == set(COMMANDS)


@pytest.mark.parametrize("command", sorted(DOCUMENTED))
def test_a_command_that_is_called_wrongly_exits_with_2(command: str) -> None:
    assert CliRunner().invoke(app, [*command.split(), "--no-such-option"]).exit_code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dead_server_is_one_clear_line(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spezia.client.calls._UNREACHABLE_WAITS", ())
    ended = CliRunner().invoke(app, [command, *arguments_of(command, tmp_path), "--server", "http://127.0.0.1:9"])
    assert ended.exit_code == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("spezia: no service answers at http://127.0.0.1:9")
    assert "start one: spezia serve" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_key_is_one_clear_line(command: str, spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.refuse = problem(401, Code.UNAUTHORIZED, "this service needs an API key")
    ended = spezia(command, *arguments_of(command, tmp_path))
    assert ended.exit_code == 1
    assert ended.stderr == (
        "spezia: this service needs an API key; set SPEZIA_API_KEY to a good key; "
        "`spezia key create NAME` makes one beside the database\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_exits_with_130(command: str, spezia: Spezia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("httpx2.Client.send", interrupt)
    ended = spezia(command, *arguments_of(command, tmp_path))
    assert (ended.exit_code, ended.stderr) == (130, "spezia: interrupted\n")


def test_another_server_than_ours_is_one_clear_line(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["GET /v1/workers"] = httpx2.Response(200, text="<html>Hello</html>")
    ended = spezia("workers")
    assert ended.exit_code == 1
    [line] = ended.stderr.splitlines()
    assert "is no Spezia, or one of another version" in line


def arguments_of(command: str, folder: Path) -> list[str]:
    (folder / "toy.yaml").write_text(STUDY)
    return [str(folder / one) if one.endswith(".yaml") else one for one in COMMANDS[command]]
