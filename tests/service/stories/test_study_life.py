"""A study from its POST to its best trial, told by a worker's hand."""

import io
import tarfile
from typing import Any

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import FACTS, HandWorker, spec
from tests.stock import stock_storage


def post(http: TestClient, **changes: Any) -> dict[str, Any]:
    reply = http.post("/v1/studies", json=spec(**changes))
    assert reply.status_code == 201, reply.text
    study: dict[str, Any] = reply.json()
    return study


def study_of(http: TestClient, name: str = "feedback") -> dict[str, Any]:
    study: dict[str, Any] = http.get(f"/v1/studies/{name}").json()
    return study


def trials_of(http: TestClient, **query: Any) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = http.get("/v1/studies/feedback/trials", params=query).json()["trials"]
    return trials


def test_a_study_runs_to_its_end(http: TestClient, worker: HandWorker) -> None:
    assert post(http)["state"] == "running"
    worker.prepare()
    worker.run_trial(0.9, 0.8)
    worker.run_trial(0.5, 0.6)
    worker.run_trial(0.7)
    assert worker.dispatch() == []
    study = study_of(http)
    assert study["state"] == "complete"
    assert study["facts"]["classes"] == FACTS["classes"]
    assert study["trials"] == {"waiting": 0, "paused": 0, "running": 0, "complete": 3, "pruned": 0, "fail": 0}
    assert study["device_seconds"] == 1.0 + 3 * 2.0
    best = http.get("/v1/studies/feedback/best").json()
    assert (best["number"], best["value"], best["step"]) == (1, 0.5, 1)
    assert best["generalization_gap"] == pytest.approx(0.1)
    assert best["training_arguments"]["learning_rate"] == best["params"]["learning_rate"]


def test_nothing_starts_before_the_facts_are_known(http: TestClient, worker: HandWorker) -> None:
    post(http)
    held = worker.take()
    assert held["kind"] == "prepare"
    assert HandWorker(http).dispatch() == []
    assert http.get("/v1/studies/feedback/trials").json()["trials"] == []


def test_a_failed_prepare_ends_the_study_without_a_trial(http: TestClient, worker: HandWorker) -> None:
    post(http)
    failure = {"failure_class": "data_error", "message": "train.csv, row 3: the label is empty"}
    outcome = {"kind": "prepare", "failure": failure, "device_seconds": 0.1}
    assert worker.tell(worker.take(), outcome).status_code == 200
    study = study_of(http)
    assert (study["state"], study["failure"]) == ("failed", failure)
    assert trials_of(http) == []
    missing = http.get("/v1/studies/feedback/best")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-best")
    assert "row 3" in missing.json()["detail"]


def test_fixed_params_reach_the_worker_and_not_the_search(http: TestClient, worker: HandWorker) -> None:
    post(http, fixed={"epochs": 2})
    worker.prepare()
    assert worker.run_trial(0.5)["params"]["epochs"] == 2
    assert "epochs" not in trials_of(http)[0]["params"]


def test_the_median_pruner_stops_a_trial_at_the_step_of_its_last_report(http: TestClient, worker: HandWorker) -> None:
    options = {"n_startup_trials": 2, "n_warmup_steps": 1}
    post(http, pruner={"name": "median", "options": options})
    worker.prepare()
    worker.run_trial(0.5, 0.4, 0.3)
    worker.run_trial(0.5, 0.4, 0.3)
    worker.run_trial(0.9, 0.9, 0.9)
    trial = trials_of(http)[2]
    assert (trial["state"], trial["step"], trial["value"]) == ("PRUNED", 2, 0.9)
    detail = http.get("/v1/studies/feedback/trials/2").json()
    assert [row["should_prune"] for row in detail["intermediate_values"]] == [False, True]
    assert "step 2" in detail["intermediate_values"][1]["reason"]


def test_a_final_report_is_never_pruned(http: TestClient, worker: HandWorker) -> None:
    post(http, pruner={"name": "median", "options": {"n_startup_trials": 1}})
    worker.prepare()
    worker.run_trial(0.5)
    worker.run_trial(0.9)
    assert [trial["state"] for trial in trials_of(http)] == ["COMPLETE", "COMPLETE"]


def test_only_the_leaders_model_is_kept(http: TestClient, worker: HandWorker, settings: Any) -> None:
    post(http)
    worker.prepare()
    kept = []
    for value, content in ((0.9, b"first"), (0.5, b"second"), (0.7, b"third")):
        held = worker.take()
        if worker.report(held, 1, value, final=True)["keep_model"]:
            kept.append(content)
            assert worker.upload(held, "weights.bin", content).status_code == 204
        assert worker.finish(held).status_code == 200
    assert kept == [b"first", b"second"]
    answer = http.get("/v1/studies/feedback/best/model")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == ["feedback/README.md", "feedback/weights.bin"]
        assert archive.extractfile("feedback/weights.bin").read() == b"second"  # type: ignore[union-attr]
    assert [folder.name for folder in (settings.files / "artifacts").iterdir()] == [
        http.get("/v1/studies/feedback/best").json()["model_directory"].rpartition("/")[2]
    ]


def test_the_winner_is_scored_once_on_the_test_split(http: TestClient, worker: HandWorker) -> None:
    post(http, n_trials=1, data={"train": "train.csv", "test": "test.csv"})
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    assert study_of(http)["state"] == "running"
    score = worker.take()
    assert (score["kind"], score["number"], score["model_files"]) == ("score", 0, ["weights.bin"])
    headers = {"Lease-Token": score["token"]}
    assert http.get(f"/v1/leases/{score['lease_id']}/model/weights.bin", headers=headers).content == b"model"
    outcome = {"kind": "score", "metrics": {"test_accuracy": 0.75}, "device_seconds": 1.0}
    assert worker.tell(score, outcome).status_code == 200
    assert study_of(http)["state"] == "complete"
    assert http.get("/v1/studies/feedback/best").json()["metrics"]["test_accuracy"] == 0.75


def test_a_grid_ends_the_study_when_every_point_was_tried(http: TestClient, worker: HandWorker) -> None:
    space = {"epochs": {"type": "int", "low": 1, "high": 2}, "batch_size": {"type": "categorical", "choices": [8, 16]}}
    post(http, search_space=space, sampler={"name": "grid"}, n_trials=100)
    worker.prepare()
    tried = [worker.run_trial(0.5)["params"] for _ in range(4)]
    assert len({(params["epochs"], params["batch_size"]) for params in tried}) == 4
    assert worker.dispatch() == []
    assert study_of(http)["state"] == "complete"


def test_a_reached_target_ends_the_study(http: TestClient, worker: HandWorker) -> None:
    post(http, target_value=0.4)
    worker.prepare()
    worker.run_trial(0.5)
    worker.run_trial(0.4)
    assert worker.dispatch() == []
    assert study_of(http)["state"] == "complete"


def test_a_timeout_ends_the_study_after_its_running_trial(http: TestClient, worker: HandWorker, clock: Any) -> None:
    post(http, timeout_seconds=100.0)
    worker.prepare()
    held = worker.take()
    assert held["seconds_left"] == 100.0
    clock.advance(100)
    assert HandWorker(http).dispatch() == []
    assert study_of(http)["state"] == "stopping"
    worker.report(held, 1, 0.5, final=True)
    worker.finish(held)
    assert study_of(http)["state"] == "complete"


def test_five_failures_of_one_class_end_the_study(http: TestClient, worker: HandWorker) -> None:
    post(http, n_trials=20)
    worker.prepare()
    for _ in range(5):
        assert worker.fail(worker.take(), "out_of_memory").status_code == 200
    study = study_of(http)
    assert (study["state"], study["failure"]["failure_class"]) == ("failed", "out_of_memory")
    assert study["trials"]["fail"] == 5


def test_a_study_whose_trials_all_fail_has_failed(http: TestClient, worker: HandWorker) -> None:
    post(http, n_trials=2)
    worker.prepare()
    worker.fail(worker.take())
    worker.fail(worker.take())
    assert study_of(http)["failure"]["message"] == "2 of 2 trials failed as exception; the last: it broke"


def test_stock_optuna_reads_the_live_study(http: TestClient, worker: HandWorker, database_url: str) -> None:
    post(http)
    worker.prepare()
    worker.run_trial(0.9, 0.8)
    running = worker.take()
    worker.report(running, 1, 0.6)
    with stock_storage(database_url) as storage:
        study = optuna.load_study(study_name="feedback", storage=storage)
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
        assert study.best_value == 0.8
        assert study.trials[1].intermediate_values == {1: 0.6}
        assert study.trials[1].params == running["params"]


def test_the_same_seed_proposes_the_same_trials(http: TestClient, worker: HandWorker) -> None:
    proposals = []
    for name in ("one", "two"):
        post(http, name=name, sampler={"name": "tpe", "options": {"n_startup_trials": 2}}, n_trials=4)
        worker.prepare()
        proposals.append([worker.run_trial(value)["params"] for value in (0.9, 0.5, 0.7, 0.6)])
    assert proposals[0] == proposals[1]
