"""`spezia predict`: which model is asked, how, and what is shown; tests/trainer/test_predict.py asks real ones."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from spezia.cli import model_commands
from spezia.cli.main import app
from spezia.cli.model_commands import prediction_words
from spezia.common.extras import MissingExtra
from spezia.common.model_tar import tar
from spezia.contract.prediction import Prediction, Tag
from tests.service.replies import ScriptedService, make_best, make_study
from tests.service.search.builders import make_spec
from tests.spezia.cli.test_screen import HOSTILE, is_harmless
from tests.spezia_command import Spezia

ECHO = """
import json, pathlib, sys
for text in json.load(sys.stdin):
    said = f"{text} {sorted(path.name for path in pathlib.Path(sys.argv[1]).iterdir())} {sys.argv[2:]}"
    print(json.dumps({"input": text, "completion": said}))
"""


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a model a process that says what it was asked, and of which folder."""
    monkeypatch.setattr(model_commands, "PREDICT", (sys.executable, "-I", "-c", ECHO))
    monkeypatch.setattr(model_commands, "require_trainer", lambda what: None)


def test_a_folder_is_asked_without_a_service(tmp_path: Path) -> None:
    (tmp_path / "weights").touch()
    asked = CliRunner().invoke(app, ["predict", str(tmp_path), "one", "two"])
    assert asked.stdout == "one ['weights'] []\ntwo ['weights'] []\n"
    lines = CliRunner().invoke(app, ["predict", str(tmp_path), "--chat", "--json"], input="three\n\nfour\n").stdout
    assert [json.loads(line)["completion"] for line in lines.splitlines()] == [
        "three ['weights'] ['--chat']",
        "four ['weights'] ['--chat']",
    ]


def test_the_best_model_of_a_study_is_fetched_and_asked(
    spezia: Spezia, service: ScriptedService, tmp_path: Path
) -> None:
    content = b"".join(tar({"config.json": tmp_path / "toy.yaml"}, "toy"))
    service.answers["GET /v1/studies/toy/best/model"] = httpx2.Response(200, content=content)
    assert spezia("predict", "toy", "one").stdout == "one ['config.json'] []\n"
    here = tmp_path / "here"
    here.mkdir()
    service.answers["GET /v1/studies/toy/best"] = make_best().model_copy(update={"model_directory": str(here)})
    assert spezia("predict", "toy", "one").stdout == "one [] []\n"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"data": {"train": "t.csv", "columns": {"text": "a", "text_pair": "b", "label": "c"}}},
            "reads pairs of texts",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    spezia: Spezia, service: ScriptedService, changes: dict[str, Any], reason: str
) -> None:
    service.answers["GET /v1/studies/toy"] = make_study(spec=make_spec(name="toy", **changes))
    refused = spezia("predict", "toy", "one")
    assert (refused.exit_code, reason in refused.stderr) == (1, True)


def test_a_model_that_cannot_be_asked_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = "import sys; sys.exit('a\\nTraceback\\nno config.json')"
    monkeypatch.setattr(model_commands, "PREDICT", (sys.executable, "-I", "-c", fails))
    refused = CliRunner().invoke(app, ["predict", str(tmp_path), "one"])
    assert (refused.exit_code, refused.stderr) == (1, "spezia: the model cannot be asked: no config.json\n")


def test_without_the_trainer_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(what: str) -> None:
        raise MissingExtra(what, "torch", "trainer")

    monkeypatch.setattr(model_commands, "require_trainer", missing)
    refused = CliRunner().invoke(app, ["predict", str(tmp_path), "one"])
    assert refused.exit_code == 2
    assert refused.stderr == ("spezia: predict needs torch, which is not installed: pip install 'spezia[trainer]'\n")


def test_answers_are_lines() -> None:
    one = Prediction(input="a text", label="good", probabilities={"good": 0.9, "bad": 0.1})
    several = Prediction(input="a text", labels=["x", "y"], probabilities={"x": 0.9, "y": 0.8, "z": 0.1})
    tag = Tag(text="Rome", start=3, end=7, tag="CITY", probability=0.99)
    assert prediction_words(one) == "good 0.90  a text"
    assert prediction_words(one, is_verbose=True) == "good 0.90, bad 0.10  a text"
    assert prediction_words(several) == "x 0.90, y 0.80  a text"
    assert prediction_words(several.model_copy(update={"labels": []})) == "no label  a text"
    assert prediction_words(Prediction(input="a text", number=1.23456)) == "1.235  a text"
    assert prediction_words(Prediction(input="in Rome", tags=[tag])) == "Rome [CITY 0.99]  in Rome"
    assert prediction_words(Prediction(input="a", completion="bc")) == "bc"


def test_what_a_model_says_is_shown_as_text(tmp_path: Path) -> None:
    for option in ([], ["--json"]):
        assert is_harmless(CliRunner().invoke(app, ["predict", str(tmp_path), HOSTILE, *option]).output)
