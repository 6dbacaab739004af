"""`spezia serve`, as far as its command line goes."""

from pathlib import Path

from typer.testing import CliRunner

from spezia.cli.main import app


def test_serve_refuses_an_address_that_others_can_reach_while_there_is_no_key(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--port", "0"]
    result = CliRunner().invoke(app, arguments, env={"SPEZIA_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert "can be reached by others" in result.stderr
    assert "spezia key create" in result.stderr
