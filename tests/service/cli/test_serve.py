"""`spezia serve`, as far as its command line goes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from spezia.cli.main import app
from spezia.common import extras
from tests.spezia_command import STUDY


def test_serve_refuses_an_address_that_others_can_reach_while_there_is_no_key(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--port", "0"]
    result = CliRunner().invoke(app, arguments, env={"SPEZIA_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert "can be reached by others" in result.stderr
    assert "spezia key create" in result.stderr


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["run", "study.yaml"]])
def test_workers_that_could_not_train_are_not_started(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    result = CliRunner().invoke(app, command, env={"SPEZIA_HOME": str(tmp_path / "home")})
    assert result.exit_code == 2
    assert "needs torch, which is not installed: pip install 'spezia[trainer]'" in result.stderr
    assert not (tmp_path / "home").exists()
