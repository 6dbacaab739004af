import errno
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from service.search.presets.presets import PRESETS
from spezia.cli.complete import study_names
from spezia.cli.main import app
from spezia.common.model_tar import tar
from spezia.contract.dataset import Dataset
from spezia.contract.model_files import Artifact, UploadedModel, UploadedModelList
from spezia.contract.preset import PresetList
from spezia.contract.replay import Comparison, Verdict
from spezia.contract.study import Study, StudyList
from spezia.contract.validation import SpecWarning, Validation
from spezia.contract.workers import WorkerList
from tests.service.replies import ScriptedService, make_comparison, make_replay, make_study, make_trial_reply
from tests.service.search.builders import make_spec
from tests.spezia_command import STUDY, Spezia


def test_validate_shows_ranges_budget_and_warnings(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    service.answers["POST /v1/studies:validate"] = Validation(
        spec=make_spec(name="toy", fixed={"dropout": 0.2}),
        warnings=[SpecWarning(field="fixed.dropout", message="one [bold] value", advice="leave it out")],
        n_parameters=5,
        size_of_space=None,
        n_trials=20,
        n_trials_advised=20,
        longest_trial_evaluations=5,
        warm_start="the best trials of older run first",
    )
    result = spezia("validate", tmp_path / "toy.yaml")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for expected in [
        "learning_rate 1e-06 to 0.001, log",
        "batch_size 8, 16, 32",
        "dropout fixed at 0.2",
        "toy: 5 parameters, a continuous space; 20 trials of up to 5 evaluations (20 or more are advised)",
        "warm start: the best trials of older run first",
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


@pytest.mark.parametrize(
    ("verdict", "exit_code"), [("equal", 0), ("within_tolerance", 0), ("different", 1), ("not_comparable", 2)]
)
def test_replay_waits_for_the_result_and_its_exit_code_says_whether_the_numbers_are_the_same(
    spezia: Spezia, service: ScriptedService, verdict: Verdict, exit_code: int
) -> None:
    path = "/v1/studies/toy/trials/3/replay"
    result = make_comparison(verdict)
    service.answers[f"POST {path}"] = make_replay(result=None)
    service.answers[f"GET {path}"] = make_replay(result=result)
    shown = spezia("replay", "toy", "3")
    assert (shown.exit_code, shown.stdout) == (exit_code, f"{result.sentence}\n  another device\n")
    assert service.paths() == [f"POST {path}", f"GET {path}"]
    assert Comparison.model_validate_json(spezia("replay", "toy", "3", "--json").stdout) == result


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
    assert (missing.exit_code, missing.stderr) == (
        1,
        "spezia: there is no such study; `spezia studies` shows yours\n",
    )


@pytest.mark.parametrize("verb", ["stop", "pause", "resume", "cancel"])
def test_a_study_is_controlled_by_name(spezia: Spezia, service: ScriptedService, verb: str) -> None:
    service.answers[f"POST /v1/studies/toy/{verb}"] = make_study(state="stopping")
    assert spezia(verb, "toy").output == "toy: stopping\n"
    result = spezia(verb, "nobody")
    assert (result.exit_code, result.output) == (
        1,
        "spezia: there is no such study; `spezia studies` shows yours\n",
    )


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
    assert json.loads(spezia("log", "toy", 3, "--json").stdout) == {"text": "one\ntwo\n"}
    assert json.loads(spezia("delete", "toy", "--json").stdout) == {"name": "toy"}
    assert spezia("log", "toy", 4).exit_code == 1


def test_without_a_service_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    environment = {"SPEZIA_HOME": str(tmp_path), "SPEZIA_PORT": "9"}
    result = CliRunner().invoke(app, ["submit", str(_study(tmp_path))], env=environment)
    assert result.exit_code == 1
    assert "no service answers at http://127.0.0.1:9" in result.stderr


def _study(folder: Path) -> Path:
    path = folder / "toy.yaml"
    path.write_text(STUDY)
    return path


def test_studies_and_workers_are_lists(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["GET /v1/studies"] = StudyList(studies=[make_study()], next_page_token=None)
    service.answers["GET /v1/workers"] = WorkerList(workers=[], next_page_token=None)
    assert spezia("studies").stdout.splitlines()[1].split()[:4] == ["toy", "complete", "20/20", "validation_loss"]
    assert spezia("workers").stdout.startswith("no worker is connected; one joins by: spezia-worker")
    assert StudyList.model_validate_json(spezia("studies", "--json").stdout).studies == [make_study()]


def test_a_log_is_followed_until_the_trial_has_ended(
    spezia: Spezia, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = iter([make_trial_reply(1, state="RUNNING", finished_at=None), make_trial_reply(1)])
    service.answers["GET /v1/studies/toy/trials/1"] = lambda request: next(polls)

    def log(request: httpx2.Request) -> httpx2.Response:
        after = int(request.url.params["after"])
        return httpx2.Response(200, text=f"piece {after + 1}\n", headers={"Log-Position": str(after + 1)})

    service.answers["GET /v1/studies/toy/trials/1/log"] = log
    monkeypatch.setattr("spezia.client.calls.time.sleep", lambda seconds: None)
    assert spezia("log", "toy", 1, "-f").stdout == "piece 1\npiece 2\n"


def test_an_interrupted_watch_leaves_the_study_running_and_says_how_to_come_back(
    spezia: Spezia, service: ScriptedService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spezia.client.Client.wait", interrupt)
    ended = spezia("watch", "toy")
    assert ended.exit_code == 130
    assert ended.stderr == "stopped watching; study toy runs on, and `spezia watch toy` shows it again\n"
    assert {request.method for request in service.requests} == {"GET"}
    elsewhere = spezia("watch", "toy", "--server", url)
    assert f"`spezia watch toy --server {url}` shows it again" in elsewhere.stderr


def test_a_watch_as_json_prints_a_line_for_each_change(spezia: Spezia, service: ScriptedService) -> None:
    running = make_study(state="running", n_finished=3)
    later = running.model_copy(update={"elapsed_seconds": 90.0})
    polls = iter([running, running, later, make_study()])
    service.answers["GET /v1/studies/toy"] = lambda request: next(polls)
    printed = [Study.model_validate_json(line) for line in spezia("watch", "toy", "--json").stdout.splitlines()]
    assert printed == [running, make_study()]


def test_names_of_studies_are_completed_and_without_a_service_none_are(
    spezia: Spezia, service: ScriptedService, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    listed = [make_study(name=name) for name in ("other", "toy", "toys")]
    service.answers["GET /v1/studies"] = StudyList(studies=listed, next_page_token=None)
    monkeypatch.setenv("SPEZIA_SERVER", url)
    assert list(study_names("to")) == ["toy", "toys"]
    monkeypatch.setenv("SPEZIA_SERVER", "http://127.0.0.1:9")
    assert list(study_names("to")) == []


def test_upload_prints_the_name_of_data_or_of_a_model_for_a_study(
    spezia: Spezia, service: ScriptedService, tmp_path: Path
) -> None:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    data = Dataset(reference="sha256:d", sha256="d", format="csv", size_bytes=1, uploaded_at=now)
    model = UploadedModel(reference="sha256:m", sha256="m", files=[], size_bytes=1, uploaded_at=now)
    service.answers |= {"POST /v1/datasets": data, "POST /v1/models": model}
    assert spezia("upload", tmp_path / "toy.yaml").stdout == "sha256:d\n"
    (tmp_path / "model").mkdir()
    assert spezia("upload", tmp_path / "model").stdout == "sha256:m\n"
    assert json.loads(spezia("upload", tmp_path / "model", "--json").stdout)["sha256"] == "m"
    missing = spezia("upload", tmp_path / "none")
    assert (missing.exit_code, missing.stderr) == (1, f"spezia: {tmp_path / 'none'}: No such file or directory\n")


def test_uploaded_models_are_listed_and_deleted_by_their_name(spezia: Spezia, service: ScriptedService) -> None:
    now = datetime(2026, 11, 27, tzinfo=UTC)
    files = [Artifact(file="config.json", size_bytes=2**20, sha256="c")]
    model = UploadedModel(reference="sha256:m", sha256="m", files=files, size_bytes=2**20, uploaded_at=now)
    pages = [
        UploadedModelList(models=[model], next_page_token="m"),
        UploadedModelList(models=[], next_page_token=None),
    ]
    service.answers |= {
        "GET /v1/models": lambda request: pages["page_token" in request.url.params],
        "DELETE /v1/models/m": httpx2.Response(204),
    }
    listed = spezia("models").stdout.splitlines()
    assert [line.split()[:4] for line in listed] == [
        ["model", "size", "files", "uploaded"],
        ["sha256:m", "1.0", "MiB", "1"],
    ]
    assert spezia("delete", "sha256:m").stdout == "sha256:m: deleted\n"
    assert json.loads(spezia("delete", "sha256:m", "--json").stdout) == {"reference": "sha256:m"}
    service.answers["GET /v1/models"] = pages[1]
    assert spezia("models").stdout == "you have uploaded no model; upload one: spezia upload FOLDER\n"


def test_pull_prints_the_folder_of_the_model(spezia: Spezia, service: ScriptedService, tmp_path: Path) -> None:
    content = b"".join(tar({"config.json": tmp_path / "toy.yaml"}, "toy"))
    service.answers["GET /v1/studies/toy/best/model"] = httpx2.Response(200, content=content)
    assert spezia("pull", "toy", tmp_path / "model").stdout == f"{tmp_path / 'model'}\n"
    said = json.loads(spezia("pull", "toy", tmp_path / "other", "--json").stdout)
    assert said == {"study": "toy", "folder": str(tmp_path / "other")}
    assert (tmp_path / "model" / "config.json").exists()
    again = spezia("pull", "toy", tmp_path / "model")
    assert (again.exit_code, again.stderr) == (
        1,
        f"spezia: {tmp_path / 'model'}: is there already; give another folder, or remove it\n",
    )


def test_a_full_disk_is_one_clear_line(spezia: Spezia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "model"))

    monkeypatch.setattr("spezia.client.client.Client.best_model", full)
    ended = spezia("pull", "toy", tmp_path / "model")
    assert (ended.exit_code, ended.stderr) == (1, f"spezia: {tmp_path / 'model'}: No space left on device\n")


def test_clone_sends_what_is_set(spezia: Spezia, service: ScriptedService) -> None:
    service.answers["POST /v1/studies/toy/clone"] = make_study(name="toys", state="running")
    cloned = spezia("clone", "toy", "toys", "--set", "n_trials=40", "--set", "model.name=a=b")
    assert cloned.output == "toys: running\n"
    changes = [{"field": "n_trials", "value": 40}, {"field": "model.name", "value": "a=b"}]
    assert json.loads(service.requests[-1].content) == {"name": "toys", "changes": changes}
    assert spezia("clone", "toy", "--set", "n_trials").exit_code == 2
