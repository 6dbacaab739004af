"""`spezia run`, beside a service that lives already."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from typer.main import get_command

from service.cli.run import app as run_app
from service.cli.serve import app as serve_app
from spezia.contract.failure import Failure
from spezia.contract.problem import Code
from spezia.contract.study import TrialCounts
from spezia.contract.study_spec import StudySpec
from spezia.contract.trial import TrialList
from tests.service.replies import ScriptedService, make_best, make_study, problem
from tests.service.search.builders import make_spec
from tests.spezia_command import STUDY, Spezia


def test_run_shows_the_result_and_the_same_as_curl(
    spezia: Spezia, service: ScriptedService, tmp_path: Path, url: str
) -> None:
    result = spezia("run", tmp_path / "toy.yaml")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for expected in [
        "toy: trial 7 is the best of 20 (5 pruned)",
        "learning_rate 0.0001 2e-05",
        "validation_loss 0.25 0.5",
        "improvement over the baseline: 0.25",
        "test_accuracy 0.88",
        "model: /models/toy",
        "note: a warning",
        "note: a study's warning",
        f"curl -X POST {url}/v1/studies -H 'Content-Type: application/json' -d @{tmp_path}/home/toy.json",
        f"curl {url}/v1/studies/toy/best",
    ]:
        assert expected in text
    posted = json.loads(service.requests[0].content)
    assert posted["name"] == "toy"
    assert posted["data"]["train"] == str(tmp_path / "train.csv")
    StudySpec.model_validate_json((tmp_path / "home" / "toy.json").read_text())


def test_run_as_json_prints_the_best_trial_alone(spezia: Spezia, tmp_path: Path) -> None:
    result = spezia("run", tmp_path / "toy.yaml", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(make_best().model_dump_json())
    assert "trial 7 is the best" in result.stderr


def test_run_prints_a_line_for_each_trial_that_ends(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    polls = iter([make_study(state="running", trials=TrialCounts(running=3), n_finished=0), make_study()])
    ended = service.answers["GET /v1/studies/toy/trials"]
    lists = iter([TrialList(trials=[], next_page_token=None), ended])
    service.answers["GET /v1/studies/toy"] = lambda request: next(polls)
    service.answers["GET /v1/studies/toy/trials"] = lambda request: next(lists)
    text = spezia("run", tmp_path / "toy.yaml").stdout
    assert "trial    0  0.5        epoch 3, step 3  rate=2e-05 batch=16\n" in text
    assert "trial    1  0.7        epoch 1, step 1, pruned  rate=2e-05 batch=16\n" in text
    assert "trial    2  failed     epoch 3, step 3: diverged: NaN  rate=2e-05 batch=16\n" in text


def test_run_resumes_what_is_paused(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.answers["POST /v1/studies"] = make_study(state="paused")
    service.answers["POST /v1/studies/toy/resume"] = make_study(state="running")
    assert spezia("run", tmp_path / "toy.yaml").exit_code == 0
    assert "POST /v1/studies/toy/resume" in service.paths()


def test_run_new_takes_the_next_free_name(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.answers["GET /v1/studies/toy-2"] = make_study(spec=make_spec(name="toy-2"))
    assert spezia("run", tmp_path / "toy.yaml", "--new").exit_code == 0
    (posted,) = [request for request in service.requests if request.method == "POST"]
    assert json.loads(posted.content)["name"] == "toy-3"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"POST /v1/studies": problem(409, Code.STUDY_EXISTS, "there is a study 'toy' with another seed")},
            "spezia: there is a study 'toy' with another seed\n--new runs this one beside it",
        ),
        (
            {
                "GET /v1/studies/toy": make_study(
                    state="failed", failure=Failure(failure_class="data_error", message="train.csv, row 3: no label")
                )
            },
            "spezia: study toy failed: data_error: train.csv, row 3: no label",
        ),
        (
            {"GET /v1/studies/toy/best": problem(404, Code.NO_BEST, "all 3 trials failed")},
            "spezia: study toy is complete: all 3 trials failed",
        ),
        ({"POST /v1/studies": problem(422, Code.INVALID, "sampler.name: needs torch")}, "sampler.name: needs torch"),
    ],
)
def test_run_ends_with_one_clear_message(
    spezia: Spezia, service: ScriptedService, tmp_path: Path, answers: dict[str, Any], message: str
) -> None:
    service.answers |= answers
    result = spezia("run", tmp_path / "toy.yaml")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_run_refuses_a_bad_file(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(STUDY.replace("low: 1e-6", "low: 1"))
    result = spezia("run", tmp_path / "bad.yaml")
    assert result.exit_code == 1
    assert "bad.yaml:5: search_space.learning_rate.low: low 1 lies above high 0.001; swap them" in result.stderr
    assert service.requests == []


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """As at a terminal: a process that was started in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_run_stops_watching_on_ctrl_c(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    def interrupt(request: httpx2.Request) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return make_study(state="running")

    service.answers["GET /v1/studies/toy"] = interrupt
    result = spezia("run", tmp_path / "toy.yaml")
    assert result.exit_code == 130
    assert "study toy and all its trials are kept; it runs on" in result.stdout


def test_a_service_of_another_database_is_not_used(spezia: Spezia, tmp_path: Path) -> None:
    result = spezia("run", tmp_path / "toy.yaml", "--database", f"sqlite:///{tmp_path / 'other.db'}")
    assert result.exit_code == 1
    assert "uses another database" in result.stderr


def test_options_that_a_living_service_cannot_heed_are_told(spezia: Spezia, tmp_path: Path, url: str) -> None:
    result = spezia("run", tmp_path / "toy.yaml", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert f"note: the service at {url} runs already, with its own --data-root" in " ".join(result.output.split())


@pytest.mark.parametrize("option", ["--data-root", "--allow-scripts"])
@pytest.mark.parametrize("app", [run_app, serve_app], ids=["run", "serve"])
def test_what_a_workers_message_advises_is_an_option_of_what_starts_local_workers(
    app: typer.Typer, option: str
) -> None:
    assert option in {name for param in get_command(app).params for name in param.opts}
