import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from service.cli.local_service import NoLocalService, local_service
from service.home_lock import find, hold
from service.search.presets.presets import PRESETS
from service.settings import Settings
from spezia.cli.main import app
from spezia.client import Client
from spezia.contract.failure import Failure
from spezia.contract.preset import PresetList
from spezia.contract.problem import Code
from spezia.contract.study import TrialCounts
from spezia.contract.study_spec import StudySpec
from spezia.contract.trial import TrialList
from spezia.contract.validation import SpecWarning, Validation
from tests.service.replies import ScriptedService, make_best, make_study, make_trial_reply, problem
from tests.service.search.builders import make_spec

STUDY = """\
task: text-classification
model: {name: tiny}
data: {train: train.csv}
search_space:
  learning_rate: {type: float, low: 1e-6, high: 1e-3, log: true}
"""
Spezia = Callable[..., Result]


@pytest.fixture
def service() -> ScriptedService:
    """Knows one finished study, ``toy``."""
    trials = [
        make_trial_reply(0),
        make_trial_reply(1, state="PRUNED", value=0.7, step=1, epoch=1.0),
        make_trial_reply(2, state="FAIL", value=None, failure=Failure(failure_class="diverged", message="NaN")),
    ]
    return ScriptedService(
        {
            "GET /v1/studies/toy": make_study(warnings=["a study's warning"]),
            "GET /v1/studies/toy/best": make_best(),
            "GET /v1/studies/toy/trials": TrialList(trials=list(trials), next_page_token=None),
            "POST /v1/studies": make_study(),
        }
    )


@pytest.fixture
def url(service: ScriptedService) -> Iterator[str]:
    """The scripted service behind a real socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = httpx2.Request(self.command, f"http://spezia.test{self.path}", content=body)
            reply = service.transport().handle_request(request)
            self.send_response(reply.status_code)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        do_POST = do_PATCH = do_DELETE = do_GET

        def log_message(self, *arguments: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *arguments: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def spezia(tmp_path: Path, url: str) -> Iterator[Spezia]:
    """Runs a command beside a live service of the same home."""
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "toy.yaml").write_text(STUDY)

    def invoke(*arguments: str) -> Result:
        environment = {"SPEZIA_HOME": str(settings.home), "COLUMNS": "120"}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    with hold(settings.home) as held:
        held.announce(url, settings.database)
        yield invoke


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
        "test_accuracy: 0.88",
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
    assert "trial    0  rate=2e-05 batch=16  epoch 3  step 3  0.5\n" in text
    assert "trial    1  rate=2e-05 batch=16  epoch 1  step 1  0.7  pruned\n" in text
    assert "trial    2  rate=2e-05 batch=16  epoch 3  step 3  failed: diverged: NaN\n" in text


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


def test_validate_shows_ranges_budget_and_warnings(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.answers["POST /v1/studies:validate"] = Validation(
        spec=make_spec(name="toy", fixed={"dropout": 0.2}),
        warnings=[SpecWarning(field="fixed.dropout", message="one [bold] value", advice="leave it out")],
        n_parameters=5,
        size_of_space=None,
        n_trials=20,
        n_trials_advised=20,
        longest_trial_evaluations=5,
    )
    result = spezia("validate", tmp_path / "toy.yaml")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for expected in [
        "learning_rate 1e-06 to 0.001, log",
        "batch_size 8, 16, 32",
        "dropout fixed at 0.2",
        "toy: 5 parameters, a continuous space; 20 trials of up to 5 evaluations (20 or more are advised)",
        "note: fixed.dropout: one [bold] value; leave it out",
    ]:
        assert expected in text
    assert service.paths() == ["POST /v1/studies:validate"]


def test_presets_lists_all_and_shows_one(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["GET /v1/presets"] = PresetList(presets=list(PRESETS.values()))
    assert "causal-lm-lora" in spezia("presets").stdout
    text = " ".join(spezia("presets", "encoder-methods").stdout.split())
    assert "5e-06 to 0.0003, log when method is full" in text
    assert "lora_alpha_ratio 1 fixed" in text
    unknown = spezia("presets", "encoder-method")
    assert unknown.exit_code == 2
    assert "did you mean 'encoder-methods'" in " ".join(unknown.output.split())


def test_submit_shows_what_to_think_about_again(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.answers["POST /v1/studies"] = make_study(warnings=["search_space: too wide; narrow it"])
    assert "\nnote: search_space: too wide; narrow it\n" in spezia("submit", tmp_path / "toy.yaml").stdout


def test_submit_watch_best_and_trials(spezia: Spezia, tmp_path: Path) -> None:
    assert spezia("submit", tmp_path / "toy.yaml").stdout == "toy: complete; follow it: spezia watch toy\n"
    assert "trial 7 is the best" in spezia("watch", "toy").stdout
    assert "trial 7 is the best" in spezia("best", "toy").stdout
    assert json.loads(spezia("best", "toy", "--json").stdout)["number"] == 7
    listed = spezia("trials", "toy").stdout
    assert "PRUNED" in listed
    assert "FAIL diverged" in listed
    missing = spezia("best", "none")
    assert (missing.exit_code, missing.stderr) == (1, "spezia: there is no such study\n")


@pytest.mark.parametrize("verb", ["stop", "pause", "resume", "cancel"])
def test_a_study_is_controlled_by_name(spezia: Spezia, service: ScriptedService, verb: str) -> None:
    service.answers[f"POST /v1/studies/toy/{verb}"] = make_study(state="stopping")
    assert spezia(verb, "toy").output == "toy: stopping\n"
    result = spezia(verb, "nobody")
    assert (result.exit_code, result.output) == (1, "spezia: there is no such study\n")


def test_extend_sends_what_is_given_alone(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["PATCH /v1/studies/toy"] = make_study(state="running")
    assert spezia("extend", "toy", "--n-trials", 30, "--timeout-seconds", 60).output == "toy: running\n"
    assert json.loads(service.requests[-1].content) == {"n_trials": 30, "timeout_seconds": 60.0}
    result = spezia("extend", "toy", "--device-seconds", 0)
    assert (result.exit_code, "greater than 0" in result.output) == (1, True)


def test_log_and_delete(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["GET /v1/studies/toy/trials/3/log"] = httpx2.Response(200, text="one\ntwo\n")
    service.answers["DELETE /v1/studies/toy"] = httpx2.Response(204)
    assert spezia("log", "toy", 3).output == "one\ntwo\n"
    assert spezia("delete", "toy").output == "toy: deleted\n"
    assert spezia("log", "toy", 4).exit_code == 1


def test_without_a_service_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    environment = {"SPEZIA_HOME": str(tmp_path), "SPEZIA_PORT": "9"}
    result = CliRunner().invoke(app, ["submit", str(_study(tmp_path))], env=environment)
    assert result.exit_code == 1
    assert "no service answers at http://127.0.0.1:9" in result.stderr


def test_serve_refuses_an_address_that_others_can_reach_while_there_is_no_key(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--port", "0"]
    result = CliRunner().invoke(app, arguments, env={"SPEZIA_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert "can be reached by others" in result.stderr
    assert "spezia key create" in result.stderr


def test_a_service_of_another_database_is_not_used(spezia: Spezia, tmp_path: Path) -> None:
    result = spezia("run", tmp_path / "toy.yaml", "--database", f"sqlite:///{tmp_path / 'other.db'}")
    assert result.exit_code == 1
    assert "uses another database" in result.stderr


def test_a_service_is_started_and_ends_with_us(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", n_workers=0)
    with local_service(settings, [tmp_path]) as (url, is_ours), Client(url) as client:
        assert is_ours
        created = client.create_study(make_spec(name="toy"))
        assert created.state == "running"
        with local_service(settings, []) as (again, is_ours_too):
            assert (again, is_ours_too) == (url, False)
    assert find(settings.home) is None
    assert "Traceback" not in (settings.home / "service.log").read_text()


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", n_workers=0, database_url="mysql://host/db")
    with pytest.raises(NoLocalService, match="the service did not start"), local_service(settings, []):
        pass


def test_a_service_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from service.cli.local_service import local_service
from service.settings import Settings
with local_service(Settings(home=Path({str(tmp_path)!r}), n_workers=0), []):
    print("up", flush=True)
    time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    running = find(tmp_path)
    assert running is not None
    starter.kill()
    starter.communicate()
    descriptor = os.pidfd_open(running.pid) if Path(f"/proc/{running.pid}").exists() else None
    if descriptor is not None:
        # readable when the process has ended
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)
    assert find(tmp_path) is None


def _study(folder: Path) -> Path:
    path = folder / "toy.yaml"
    path.write_text(STUDY)
    return path
