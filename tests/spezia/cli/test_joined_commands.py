"""Commands that other packages join to `spezia`: loaded late, and honest about what they need."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from spezia.cli import joined_commands
from spezia.cli.joined_commands import GROUP, WithJoinedCommands

SERVICE = ("alembic", "fastapi", "optuna", "pydantic_settings", "sqlalchemy", "starlette", "uvicorn")
"""Packages of the extra ``service``."""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def spezia_without(packages: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a Python that finds none of ``packages``."""
    absent = f"import sys; sys.modules.update(dict.fromkeys({packages!r})); sys.argv[1:] = {list(arguments)!r}"
    return run(f"{absent}; from spezia.cli.main import main; main()")


def test_a_command_that_speaks_http_loads_nothing_of_the_service() -> None:
    program = """
import json, sys
from typer.testing import CliRunner
from spezia.cli.main import app
assert CliRunner().invoke(app, ["best", "--help"]).exit_code == 0
print(json.dumps(sorted({module.split(".")[0] for module in sys.modules})))
"""
    loaded = set(json.loads(run(program).stdout))
    assert "spezia" in loaded
    assert not loaded & {"service", "trainer", "migrations", *SERVICE}


@pytest.mark.parametrize(
    "arguments", [["serve"], ["serve", "--port", "0"], ["run", "study.yaml"], ["key", "create", "alice"]]
)
def test_a_command_whose_extra_is_missing_says_how_to_install_it(arguments: list[str]) -> None:
    ended = spezia_without(SERVICE, *arguments)
    assert ended.returncode == 2
    assert f"spezia: {arguments[0]} needs " in ended.stderr
    assert "pip install 'spezia[service]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_lists_what_is_missing_too() -> None:
    listed = spezia_without(SERVICE, "--help").stdout
    for command in ("serve", "run", "key"):
        assert f"│ {command} " in listed
    assert "pip install 'spezia[service]'" in " ".join(spezia_without(SERVICE, "serve", "--help").stdout.split())


def test_a_fault_of_our_own_code_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = EntryPoint("wrong", "service.cli.nowhere:app", GROUP)
    monkeypatch.setattr(joined_commands, "entry_points", lambda group: [wrong])
    app = typer.Typer(cls=WithJoinedCommands)
    app.command("own")(lambda: None)
    app.command("other")(lambda: None)
    assert CliRunner().invoke(app, ["own"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["wrong"]).exception, ModuleNotFoundError)
