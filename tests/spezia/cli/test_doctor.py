"""`spezia doctor`: each thing that can be wrong, found and told with what to do about it."""

import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spezia.cli import doctor
from spezia.cli.doctor import bounded, check_hub, check_service, check_training
from spezia.cli.main import app
from spezia.common.extras import MissingExtra
from spezia.common.findings import Finding, Findings, well, wrong
from spezia.contract.problem import Code
from tests.service.replies import ScriptedService, problem
from tests.spezia.cli.test_screen import HOSTILE, is_harmless


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No service, no hub, and a torch that is quick to name."""
    monkeypatch.setenv("SPEZIA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SPEZIA_SERVER", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "TORCH", (sys.executable, "-I", "-c", "print('2.8 on a device')"))
    monkeypatch.setattr(doctor, "joined_check", lambda name: lambda: [well("database", "answers")])


def test_what_is_well_exits_with_0_and_what_is_wrong_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    good = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "80"})
    assert good.exit_code == 0, good.output
    lines = good.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["well", "Python"],
        ["well", "torch"],
        ["noted", "hub"],
        ["noted", "service"],
        ["well", "database"],
    ]
    assert lines[3].endswith("none runs on this home folder; start one: spezia serve")
    monkeypatch.setattr(doctor, "joined_check", lambda name: lambda: [wrong("port", HOSTILE, "choose another")])
    bad = CliRunner().invoke(app, ["doctor"])
    assert bad.exit_code == 1
    assert is_harmless(bad.output)
    found = Findings.model_validate_json(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert found.findings[-1] == Finding(check="port", state="wrong", message=HOSTILE, remedy="choose another")


def test_a_check_that_hangs_or_breaks_is_what_is_wrong() -> None:
    released = threading.Event()

    def hang() -> list[Finding]:
        released.wait(60)
        return []

    def break_down() -> list[Finding]:
        raise RuntimeError("oh")

    assert [one.message for one in bounded("disk", hang, 0.01)] == ["no answer within 0.01 s"]
    released.set()
    assert [one.message for one in bounded("disk", break_down)] == ["the check broke: RuntimeError: oh"]


def test_torch_may_be_missing_or_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TORCH", (sys.executable, "-I", "-c", "import sys; sys.exit('no libcudart')"))
    [broken] = check_training()
    assert (broken.state, broken.message) == ("wrong", "it cannot be loaded: no libcudart")

    def missing(what: str) -> None:
        raise MissingExtra(what, "torch", "trainer")

    monkeypatch.setattr(doctor, "require_trainer", missing)
    [absent] = check_training()
    assert absent.state == "noted"
    assert "pip install 'spezia[trainer]'" in absent.message


def test_a_hub_that_does_not_answer_is_noted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    [silent] = check_hub()
    assert (silent.state, "does not answer" in silent.message) == ("noted", True)
    monkeypatch.setenv("HF_ENDPOINT", url)  # which knows no HEAD
    assert [one.state for one in check_hub()] == ["well"]


def test_a_service_may_be_dead_or_refuse_the_key(
    service: ScriptedService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [one.state for one in check_service("http://127.0.0.1:9")] == ["wrong"]
    service.refuse = problem(401, Code.UNAUTHORIZED, "this service needs an API key")
    monkeypatch.delenv("SPEZIA_API_KEY", raising=False)
    assert [one.message for one in check_service(url)][1:] == ["SPEZIA_API_KEY is not set"]
    monkeypatch.setenv("SPEZIA_API_KEY", "spz_wrong")
    assert [one.message for one in check_service(url)][1:] == ["SPEZIA_API_KEY holds no good key"]
