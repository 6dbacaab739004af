"""Commands that other packages join to `spezia`: loaded late, and honest about what they need."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from spezia.cli import joined_commands
from spezia.cli.joined_commands import CHECKS, GROUP, WithJoinedCommands
from spezia.cli.main import app

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


STUDY = """
task: text-classification
model: {name: tiny}
data: {train: train.csv}
search_space:
  learning_rate: {low: 1e-6, high: 1e-3, log: true}
"""
CHECK = EntryPoint("validate", "service.cli.validate:validate", CHECKS)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file where no service runs, with the check of spezia[service] joined."""
    monkeypatch.setenv("SPEZIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPEZIA_PORT", "1")
    monkeypatch.delenv("SPEZIA_SERVER", raising=False)
    monkeypatch.setattr(joined_commands, "entry_points", lambda **_: [CHECK])
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    return study


def test_a_study_is_validated_without_a_service(alone: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(alone)])
    assert result.exit_code == 0, result.output
    assert "learning_rate  1e-06 to 0.001, log" in result.output
    alone.write_text(f"{STUDY}preset: encoder-smal-data\n")
    result = CliRunner().invoke(app, ["validate", str(alone)])
    assert (result.exit_code, "preset: unknown preset; did you mean" in result.output) == (1, True)


def test_validating_without_a_service_says_what_is_missing(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = EntryPoint("validate", "not_installed_at_all:validate", CHECKS)
    monkeypatch.setattr(joined_commands, "entry_points", lambda **_: [absent])
    result = CliRunner().invoke(app, ["validate", str(alone)])
    assert result.exit_code == 1
    assert "start one: spezia serve, or check it without one: pip install 'spezia[service]'" in result.output


def test_the_check_is_joined_by_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][CHECKS] == {
        "doctor": "service.cli.doctor:doctor",
        CHECK.name: CHECK.value,
    }
    assert callable(CHECK.load())
