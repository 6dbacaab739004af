"""Whatever others have written reaches the terminal as text: by the one door, and by every command."""

import io
import json
import unicodedata
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import RootModel
from rich.table import Table
from rich.text import Text

from spezia.contract.advice import Advice
from spezia.contract.failure import Failure
from spezia.contract.model_files import UploadedModel, UploadedModelList
from spezia.contract.preset import Preset, PresetList, PresetParameter
from spezia.contract.protocol import Device
from spezia.contract.study import StudyList
from spezia.contract.trial import TrialList
from spezia.contract.validation import SpecWarning, Validation
from spezia.contract.workers import Work, Worker, WorkerList
from spezia.terminal.screen import Screen, print_json, shown
from tests.service.replies import (
    NOW,
    ScriptedService,
    make_best,
    make_comparison,
    make_front,
    make_replay,
    make_study,
    make_trial_reply,
)
from tests.service.search.builders import make_spec
from tests.spezia_command import Spezia

HOSTILE = "a\x1b[31m\x1b]0;title\x07\x9b2J\r\u202eb [bold]c[/bold] :skull: [link=http://d]e[/link]"
"""Escapes that colour, clear and rename a terminal, a line that hides another, writing turned round, and markup."""


def is_harmless(text: str) -> bool:
    return all(char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for char in text)


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_commands_a_terminal(text: str) -> None:
    expected = {char for char in text if unicodedata.category(char) == "Cc"} - {"\n", "\t"}
    assert not expected & set(shown(text))
    assert shown(shown(text)) == shown(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert shown(text) == text


def test_tables_and_lines_show_text_alone() -> None:
    file = io.StringIO()
    screen = Screen(file=file, width=500)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    screen.print(table)
    screen.print_line(HOSTILE, style="bold")
    screen.print(Text(HOSTILE))
    assert is_harmless(file.getvalue())
    assert file.getvalue().count("[bold]c[/bold] :skull: [link=http://d]e[/link]") == 5
    assert "\\x1b[31m" in file.getvalue()


def test_json_holds_the_text_itself(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(RootModel[list[str]]([HOSTILE]))
    printed = capsys.readouterr().out
    assert is_harmless(printed)
    assert json.loads(printed) == [HOSTILE]


def hostile_service() -> dict[str, Any]:
    """Answers in which every text that a person or a program can choose is hostile."""
    params = {"learning_rate": 2e-5, "method": HOSTILE}
    failure = Failure(failure_class="diverged", message=HOSTILE)
    advice = [Advice(sentence=HOSTILE, changes=[])]
    study = make_study(name=HOSTILE, warnings=[HOSTILE], owner=HOSTILE)
    best = make_best().model_copy(
        update={
            "study": HOSTILE,
            "params": params,
            "metric": HOSTILE,
            "metrics": {HOSTILE: 0.5},
            "model_directory": HOSTILE,
            "warnings": [HOSTILE, f"more {HOSTILE}"],
            "advice": advice,
        }
    )
    trials = [
        make_trial_reply(1, params=params, violations={HOSTILE: 0.5}),
        make_trial_reply(2, params=params, state="FAIL", value=None, failure=failure),
    ]
    worker = Worker(
        worker_id="0" * 32,
        host=HOSTILE,
        device=Device(kind="cpu", name=HOSTILE, memory_bytes=2**33, bf16=False),
        versions={},
        registered_at=NOW,
        last_seen_at=NOW,
        work=[Work(study=HOSTILE, kind="trial", number=1, attempt=1)],
    )
    model = UploadedModel(reference=HOSTILE, sha256="0", size_bytes=2**30, files=[], uploaded_at=NOW)
    preset = Preset(
        name="preset",
        tasks=["text-classification"],
        summary=HOSTILE,
        parameters={HOSTILE: PresetParameter(default=HOSTILE, distribution=None, source=HOSTILE)},
    )
    validation = Validation(
        spec=make_spec(name="toy"),
        warnings=[SpecWarning(field="n_trials", message=HOSTILE, advice=HOSTILE)],
        n_parameters=1,
        size_of_space=None,
        n_trials=1,
        n_trials_advised=1,
        longest_trial_evaluations=1,
        warm_start=HOSTILE,
    )
    comparison = make_comparison("equal").model_copy(update={"sentence": HOSTILE, "reasons": [HOSTILE]})
    verbs = {f"POST /v1/studies/toy/{verb}": study for verb in ("clone", "pause", "resume", "stop", "cancel")}
    return {
        **verbs,
        "GET /v1/studies": StudyList(studies=[study], next_page_token=None),
        "POST /v1/studies": study,
        "PATCH /v1/studies/toy": study,
        "DELETE /v1/studies/toy": httpx2.Response(204),
        "GET /v1/studies/toy": study.model_copy(update={"name": "toy"}),  # its name is asked for
        "POST /v1/studies:validate": validation,
        "GET /v1/presets": PresetList(presets=[preset]),
        "GET /v1/workers": WorkerList(workers=[worker], next_page_token=None),
        "GET /v1/models": UploadedModelList(models=[model], next_page_token=None),
        "GET /v1/studies/toy/best": best,
        "GET /v1/studies/toy/trials": TrialList(trials=list(trials), next_page_token=None),
        "GET /v1/studies/toy/trials.csv": httpx2.Response(200, text=f"number\r\n{HOSTILE}\r\n"),
        "GET /v1/studies/toy/trials/1": trials[0],
        "GET /v1/studies/toy/trials/1/log": httpx2.Response(200, text=f"{HOSTILE}\n", headers={"Log-Position": "1"}),
        "POST /v1/studies/toy/trials/1/replay": make_replay(result=None),
        "GET /v1/studies/toy/trials/1/replay": make_replay(result=comparison),
    }


COMMANDS: dict[str, list[str]] = {
    "submit": ["toy.yaml"],
    "validate": ["toy.yaml"],
    "presets": ["preset"],
    "studies": [],
    "workers": [],
    "models": [],
    "watch": ["toy"],
    "best": ["toy"],
    "trials": ["toy"],
    "log": ["toy", "1"],
    "upload": ["toy.yaml"],
    "pull": ["toy", "model"],
    "predict": ["toy", "a text"],
    "clone": ["toy", "toys", "--set", "n_trials=3"],
    "replay": ["toy", "1"],
    "pause": ["toy"],
    "resume": ["toy"],
    "stop": ["toy"],
    "cancel": ["toy"],
    "extend": ["toy", "--n-trials", "3"],
    "delete": ["toy"],
}
"""Arguments of every command that speaks HTTP; tests/spezia/cli/test_all_commands.py adds those that are missing."""


OPTIONS = {
    "best": ["--json", "--verbose"],
    "log": ["--follow", "--json"],
    "models": ["--json"],
    "studies": ["--json"],
    "trials": ["--csv", "--json"],
    "watch": ["--json"],
}
"""Options that change what a command prints; where it is one model alone, `submit --json` stands for all."""
CASES = [
    (command, option)
    for command in COMMANDS
    for option in ["", *OPTIONS.get(command, [])]
    if command not in ("upload", "pull", "predict")
]
"""All but `upload`, which prints a hash, `pull`, which prints its own argument, and `predict`, which has a file of its
own: tests/spezia/cli/test_predict.py."""


@pytest.mark.parametrize(("command", "option"), CASES)
def test_every_command_shows_hostile_text_as_text(
    spezia: Spezia, service: ScriptedService, command: str, option: str, tmp_path: Any
) -> None:
    service.answers = hostile_service()
    arguments = [tmp_path / one if one.endswith(".yaml") else one for one in COMMANDS[command]]
    options = [option] if option else []
    ended = spezia(command, *arguments, *options)
    assert ended.exit_code == 0, ended.output
    assert is_harmless(ended.output)
    if "--json" in options:
        for document in ended.stdout.splitlines() if command in ("watch", "log") else [ended.stdout]:
            json.loads(document)
    elif command != "delete":
        assert "[bold]c[/bold] :skull:" in " ".join(ended.output.split()) or command in ("studies", "workers")


def test_a_front_of_hostile_texts_is_shown_as_text(spezia: Spezia, service: ScriptedService) -> None:
    front = make_front().model_copy(update={"study": HOSTILE})
    service.answers["GET /v1/studies/toy/best"] = front
    ended = spezia("best", "toy")
    assert is_harmless(ended.output)
    assert "[bold]c[/bold]" in ended.output


def test_a_refusal_of_hostile_texts_is_shown_as_text(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["GET /v1/studies/toy"] = httpx2.Response(502, text=HOSTILE)
    service.answers["GET /v1/studies/toy/best"] = httpx2.Response(400, text=HOSTILE)
    ended = spezia("best", "toy")
    assert ended.exit_code == 1
    assert is_harmless(ended.output)
