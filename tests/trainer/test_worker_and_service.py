"""A worker and the real service, over HTTP: first with a scripted engine, then with the real one."""

import contextlib
import io
import json
import os
import socket
import sys
import tarfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from transformers import AutoModelForSequenceClassification

from service.app import create_app
from service.settings import Settings
from tests import fake_engine
from tests.trainer import tiny
from trainer.cli import engine_command
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.download_cache import downloads_folder
from trainer.supervisor.supervisor import Limits, Supervisor, Terminated

FAKE = f"{sys.executable} -P {fake_engine.__file__}"
REAL = f"{sys.executable} -P -m trainer.engine"


class UntilStudyEnds(httpx2.HTTPTransport):
    """Ends the worker instead of asking for work when there will be none."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/dispatch"):
            studies = httpx2.get(request.url.join("/v1/studies"), timeout=10).json()["studies"]
            if all(study["state"] not in ("running", "stopping") for study in studies):
                raise Terminated("no study left")
        return super().handle_request(request)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    app = create_app(Settings(home=tmp_path / "home"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        uvicorn_server.should_exit = True
        thread.join()


@contextlib.contextmanager
def search(
    server: str, engine: str, spec: dict[str, Any], roots: list[Path], scripts: Sequence[Path] = ()
) -> Iterator[httpx2.Client]:
    """Run a study to its end with one worker; a client to look at it with."""
    client = ServiceClient(server, transport=UntilStudyEnds())
    command = engine_command(engine, data_roots=roots, threads=1, allow_scripts=scripts)
    http = httpx2.Client(base_url=f"{server}/v1/studies", timeout=10)
    with http, contextlib.closing(client):
        created = http.post(f"{server}/v1/studies", json=spec)
        assert created.status_code == 201, created.text
        limits = Limits(wait_seconds=0.1)
        assert Supervisor(client, command, worker_id=os.urandom(16).hex(), limits=limits).run() == 0
        yield http


def test_study_runs_to_its_end_with_a_scripted_engine(server: str, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    bad = [{"print": "on its way"}, {"evaluate": 9.0}, {"evaluate": 9.0}, {"exit": 1}]
    trials = {"5": bad, "6": [{"evaluate": 0.1}, {"fail": "diverged"}], "7": [{"fail": "out_of_memory"}]}
    script.write_text(json.dumps({"trials": trials}))
    spec = tiny.make_spec(name="a", n_trials=8, fixed={"epochs": 3}, pruner={"name": "median"})
    with search(server, f"{FAKE} --script {script}", spec.model_dump(), []) as http:
        study = http.get("/a").json()
        assert study["state"] == "complete"
        listed = http.get("/a/trials").json()["trials"]
        best = http.get("/a/best").json()
        with tarfile.open(fileobj=io.BytesIO(http.get("/a/best/model").content)) as model:
            names = {Path(name).name for name in model.getnames()}
    states = [trial["state"] for trial in listed]
    assert states[5:] == ["PRUNED", "PRUNED", "FAIL"]
    assert set(states[:5]) <= {"COMPLETE", "PRUNED"}
    assert [trial["failure"] and trial["failure"]["failure_class"] for trial in listed[5:]] == [
        None,
        "diverged",
        "out_of_memory",
    ]
    assert best["value"] == min(trial["value"] for trial in listed if trial["state"] == "COMPLETE")
    assert best["metrics"]["test_accuracy"] == 1.0  # the model came back whole
    assert names >= set(fake_engine.MODEL)


def test_study_runs_to_its_end_with_the_real_engine(server: str, pristine: Path) -> None:
    small = {"fraction": 0.5, "trials": 3}
    spec = tiny.make_spec(name="b", n_trials=3, fixed={"epochs": 2, "batch_size": 8}, start_small=small)
    with search(server, REAL, spec.model_dump(), [pristine]) as http:
        study = http.get("/b").json()
        assert study["state"] == "complete", study
        best = http.get("/b/best").json()
        assert http.get("/b/best/model").status_code == 200
    assert study["facts"]["classes"] == list(tiny.CLASSES)
    assert study["trials"]["complete"] == 3
    assert study["start_small"]["n_compared"] == 3
    assert all(run["value"] > 0 for run in study["start_small"]["runs"])
    assert best["metrics"]["test_loss"] > 0


@pytest.mark.slow
def test_a_winner_is_confirmed_with_the_real_engine(server: str, pristine: Path) -> None:
    spec = tiny.make_spec(
        name="honest",
        n_trials=3,
        fixed={"epochs": 2, "batch_size": 8},
        baseline=True,
        confirm={"top": 1, "seeds": 2},
    )
    with search(server, REAL, spec.model_dump(), [pristine]) as http:
        study = http.get("/honest").json()
        assert study["state"] == "complete", study
        best = http.get("/honest/best").json()
        assert http.get("/honest/best/model").status_code == 200
    found = best["confirmation"]
    assert (found["state"], found["winner"]) == ("complete", best["number"])
    values = [run["value"] for run in found["runs"]]
    assert len(set(values)) == len(values) == found["n_runs"] == study["n_confirm_runs"]
    assert best["value"] not in values
    assert best["metrics"]["test_loss"] > 0


@pytest.mark.slow
def test_a_study_of_two_objectives_runs_to_its_end_with_the_real_engine(server: str, pristine: Path) -> None:
    space = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2, "log": True}}
    spec = tiny.make_spec(
        name="front",
        n_trials=4,
        fixed={"epochs": 2, "batch_size": 8},
        search_space=space,
        objective=[{"metric": "validation_loss"}, {"metric": "accuracy"}],
        constraints=[{"metric": "generalization_gap", "at_most": 0.3}],
        training={"keep_models": 4},
        data={"test": None},
    )
    with search(server, REAL, spec.model_dump(), [pristine]) as http:
        study = http.get("/front").json()
        assert study["state"] == "complete", study
        front = http.get("/front/best").json()["pareto"]
        listed = http.get("/front/trials").json()["trials"]
    assert [one["number"] for one in front] == study["pareto"]
    assert study["trials"]["complete"] == 4
    for one in front:
        assert one["values"] == {name: one["metrics"][name] for name in ("validation_loss", "accuracy")}
        assert AutoModelForSequenceClassification.from_pretrained(one["model_directory"]).config.num_labels == 3
    feasible = [one["values"] for one in listed if not one["violations"]]
    best = min(feasible, key=lambda values: (values["validation_loss"], -values["accuracy"]))
    assert front[0]["values"] == best
    assert all(one["violations"].keys() <= {"generalization_gap <= 0.3"} for one in listed)


@pytest.mark.slow
def test_uploaded_data_trains_as_a_file_does(
    server: str, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = tiny.make_spec(name="c", n_trials=1, fixed={"epochs": 1, "batch_size": 8}).model_dump()
    data = {split: (pristine / spec["data"][split]).read_bytes() for split in ("train", "validation", "test")}
    uploaded = {
        split: httpx2.post(f"{server}/v1/datasets", content=content).json()["reference"]
        for split, content in data.items()
    }
    assert httpx2.post(f"{server}/v1/studies", json=spec | {"name": "file"}).status_code == 201
    study = spec | {"name": "upload", "data": spec["data"] | uploaded}
    with search(server, REAL, study, [pristine, downloads_folder()]) as http:  # one worker for both
        shown = [http.get(f"/{name}").json() for name in ("file", "upload")]
        best = [http.get(f"/{name}/best").json()["value"] for name in ("file", "upload")]
    assert [one["state"] for one in shown] == ["complete"] * 2
    assert all(one["facts"].pop("step_times")["kinds"] for one in shown)
    assert shown[0]["facts"] == shown[1]["facts"]
    assert best[0] == best[1]


SCRIPT = """
def train(params, report):
    for step in range(1, 5):
        report(step=step, error=params["slope"] * step)
"""


@pytest.mark.slow
def test_a_study_of_a_script_runs_to_its_end(server: str, tmp_path: Path) -> None:
    (tmp_path / "slopes.py").write_text(SCRIPT)
    spec = {
        "name": "c",
        "task": "script",
        "script": "slopes.py",
        "search_space": {"slope": {"type": "int", "low": 1, "high": 3}},
        "sampler": {"name": "grid"},
        "enqueue": [{"slope": 1}],
        "objective": {"metric": "error", "direction": "minimize"},
        "pruner": {"name": "median", "options": {"n_startup_trials": 1}},
    }
    with search(server, REAL, spec, [], scripts=[tmp_path]) as http:
        study = http.get("/c").json()
        assert study["state"] == "complete", study
        assert (study["trials"]["complete"], study["trials"]["pruned"]) == (1, 2)
        assert http.get("/c/best").json()["params"] == {"slope": 1}


@pytest.mark.slow
def test_the_same_study_again_has_the_same_params_and_losses(server: str, pristine: Path) -> None:
    seen = []
    for name in ("first", "again"):
        space = {
            "batch_size": {"type": "categorical", "choices": [4, 8, 16]},
            "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        }
        spec = tiny.make_spec(name=name, n_trials=5, search_space=space, pruner={"name": "median"}, seed=3)
        with search(server, REAL, spec.model_dump(), [pristine]) as http:
            trials = [http.get(f"/{name}/trials/{number}").json() for number in range(5)]
        seen.append(
            [
                (
                    trial["state"],
                    trial["params"],
                    [(row["step"], row["metrics"]) for row in trial["intermediate_values"]],
                )
                for trial in trials
            ]
        )
    assert seen[0] == seen[1]
