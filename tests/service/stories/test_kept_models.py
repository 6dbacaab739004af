"""The best models are kept while the study runs, the rest goes at once; the winner's gets a card."""

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.files.folder_files import FolderFiles
from service.files.stored_file import StoredFile
from service.lifecycle.leases.reap import reap
from service.lifecycle.models import write_card as write_card_module
from service.lifecycle.models.tar_model import tar_model
from service.lifecycle.models.write_card import write_missing_cards
from service.store.store import Store
from tests.service.hand_worker import HandWorker, spec


def begin(http: TestClient, worker: HandWorker, *, n_trials: int = 10, **changes: Any) -> None:
    training, facts = changes.pop("training", {}), changes.pop("facts", {})
    assert http.post("/v1/studies", json=spec(n_trials=n_trials, training=training, **changes)).status_code == 201
    worker.prepare(**facts)


def run(worker: HandWorker, value: float, *, size: int = 10) -> bool:
    """Run a trial of this value; whether its model was wanted."""
    held = worker.take()
    wanted: bool = worker.report(held, 1, value, final=True)["keep_model"]
    if wanted:
        assert worker.upload(held, "weights.bin", bytes(size)).status_code == 204
        assert worker.upload(held, "adapter/weights.bin", b"lora").status_code == 204
    assert worker.finish(held).status_code == 200
    return wanted


def kept(http: TestClient, n_trials: int) -> list[int]:
    """Numbers of the trials whose models are there."""
    path = "/v1/studies/feedback/trials/{}/artifacts"
    return [number for number in range(n_trials) if http.get(path.format(number)).json()["artifacts"]]


def folders(home: Path) -> int:
    return sum(1 for folder in (home / "artifacts").iterdir() if folder.is_dir())


def test_the_best_k_are_kept_and_the_others_deleted_at_once(
    http: TestClient, worker: HandWorker, settings: Any
) -> None:
    begin(http, worker, training={"keep_models": 2})
    wanted, seen = [], []
    for number, value in enumerate((0.9, 0.7, 0.8, 0.5, 0.6, 0.95)):
        wanted.append(run(worker, value))
        seen.append(kept(http, number + 1))
        assert folders(settings.home) == len(seen[-1])
    assert wanted == [True, True, True, True, True, False]
    assert seen == [[0], [0, 1], [1, 2], [1, 3], [3, 4], [3, 4]]
    best = http.get("/v1/studies/feedback/best").json()
    assert best["number"] == 3
    assert Path(best["model_directory"]).is_dir()


@pytest.mark.parametrize(("keep_models", "expected"), [(0, []), (1, [1])])
def test_none_or_the_leader_alone(http: TestClient, worker: HandWorker, keep_models: int, expected: list[int]) -> None:
    begin(http, worker, training={"keep_models": keep_models})
    for value in (0.9, 0.5, 0.7):
        run(worker, value)
    assert kept(http, 3) == expected


def test_kept_models_stay_within_their_bytes(http: TestClient, worker: HandWorker, settings: Any) -> None:
    begin(http, worker, training={"keep_models": 3, "keep_models_bytes": 300})
    run(worker, 0.9, size=100)
    run(worker, 0.8, size=100)
    assert kept(http, 2) == [0, 1]
    run(worker, 0.7, size=150)
    assert kept(http, 3) == [1, 2]
    run(worker, 0.1, size=1000)  # the best one, whatever its size
    assert kept(http, 4) == [3]
    assert folders(settings.home) == 1


def test_artifacts_are_listed_and_served_in_ranges(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    run(worker, 0.5)
    path = "/v1/studies/feedback/trials/0/artifacts"
    listed = http.get(path).json()["artifacts"]
    assert [one["file"] for one in listed] == ["adapter/weights.bin", "weights.bin"]
    assert listed[0]["sha256"] == hashlib.sha256(b"lora").hexdigest()
    assert listed[1]["size_bytes"] == 10
    part = http.get(f"{path}/adapter/weights.bin", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.content) == (206, b"or")
    missing = http.get(f"{path}/other.bin")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-model")
    assert "adapter/weights.bin, weights.bin" in missing.json()["detail"]
    assert http.get("/v1/studies/feedback/trials/7/artifacts").json()["code"] == "trial-not-found"


@pytest.mark.parametrize("file", ["../secret", "a/b/c", ".hidden", "a/../b", "x" * 101])
def test_no_file_outside_the_model_can_be_named(http: TestClient, worker: HandWorker, file: str) -> None:
    begin(http, worker)
    held = worker.take()
    assert worker.upload(held, file.replace("..", "%2e%2e"), b"x").status_code in (404, 422)
    assert http.get(f"/v1/studies/feedback/trials/0/artifacts/{file.replace('..', '%2e%2e')}").status_code in (404, 422)


def test_an_adapter_may_be_larger_than_other_bodies(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    assert worker.upload(held, "adapter/weights.bin", bytes((1 << 20) + 1)).status_code == 204


def card(http: TestClient) -> str:
    directory = Path(http.get("/v1/studies/feedback/best").json()["model_directory"])
    return (directory / "README.md").read_text()


def test_the_winner_has_a_card_when_the_study_ends(http: TestClient, worker: HandWorker) -> None:
    training = {"class_weights": "balanced"}
    begin(http, worker, n_trials=2, data={"train": "train.csv", "test": "test.csv"}, training=training, seed=77)
    run(worker, 0.9)
    run(worker, 0.5)
    directory = Path(http.get("/v1/studies/feedback/best").json()["model_directory"])
    assert not (directory / "README.md").exists()
    score = worker.take()
    outcome = {"kind": "score", "metrics": {"test_loss": 0.625, "test_accuracy": 0.75}, "device_seconds": 1.0}
    assert worker.tell(score, outcome).status_code == 200
    text = card(http)
    assert text.startswith(
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\nbase_model: some/model\n"
    )
    for expected in (
        "trial 1 of study `feedback`",
        "| validation_loss | 0.5 | 0.625 |",
        "| training | train.csv | 100 |",
        "| test | test.csv |",
        "SHA-256 of all data: `" + "1" * 64,
        "Classes: bad, good.",
        "| learning_rate |",
        "| training.class_weights | balanced |",
        "| trials | 2 complete |",
        "| seed | 77 |",
        "| device | a hand |",
        "| precision | fp32 |",
        "0" * 64,
    ):
        assert expected in text, expected
    listed = http.get("/v1/studies/feedback/trials/1/artifacts").json()["artifacts"]
    assert [one["file"] for one in listed] == ["README.md", "adapter/weights.bin", "weights.bin"]


def test_the_card_of_pairs_says_so(http: TestClient, worker: HandWorker) -> None:
    columns = {"text": "premise", "text_pair": "hypothesis", "label": "label"}
    begin(http, worker, n_trials=1, facts={"columns": columns})
    run(worker, 0.5)
    assert "Columns: text is `premise`, text_pair is `hypothesis`, label is `label`." in card(http)
    assert "Texts come in pairs: call the pipeline with `{" in card(http)


def test_study_that_ends_without_a_workers_word_gets_its_card_later(
    http: TestClient, worker: HandWorker, app: FastAPI
) -> None:
    store: Store = app.state.parts.store
    begin(http, worker)
    run(worker, 0.5)
    write_missing_cards(store, app.state.parts.files)
    assert http.post("/v1/studies/feedback/stop").json()["state"] == "complete"
    with pytest.raises(FileNotFoundError):
        card(http)
    write_missing_cards(store, app.state.parts.files)
    assert "| trials | 1 complete" in card(http)


def test_study_without_a_model_needs_no_card(
    http: TestClient, worker: HandWorker, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = app.state.parts
    reap(parts.store)
    begin(http, worker, n_trials=1, training={"keep_models": 0})
    run(worker, 0.5)
    monkeypatch.setattr(write_card_module, "write_card", lambda *_: pytest.fail("asked again"))
    write_missing_cards(parts.store, parts.files)


def stopped_with_a_model(http: TestClient, worker: HandWorker, name: str) -> Path:
    """The folder of the model of a study that was stopped after its first trial."""
    assert http.post("/v1/studies", json=spec(name=name)).status_code == 201
    worker.prepare()
    run(worker, 0.5)
    assert http.post(f"/v1/studies/{name}/stop").json()["state"] == "complete"
    return Path(http.get(f"/v1/studies/{name}/best").json()["model_directory"])


def test_a_model_whose_folder_is_gone_keeps_no_other_from_its_card(
    http: TestClient, worker: HandWorker, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    parts = app.state.parts
    gone, there = (stopped_with_a_model(http, worker, name) for name in ("gone", "there"))
    shutil.rmtree(gone)
    write_missing_cards(parts.store, parts.files)
    assert (there / "README.md").is_file()
    assert not gone.exists()
    assert [record.message for record in caplog.records if "gets no card" in record.message] == [
        f"study gone, trial 0: its model gets no card, because {gone} is gone"
    ]
    write_missing_cards(parts.store, parts.files)
    assert caplog.text.count("gets no card") == 1


def test_a_disk_of_models_that_is_away_for_a_while_costs_no_card(
    http: TestClient, worker: HandWorker, app: FastAPI
) -> None:
    parts = app.state.parts
    model = stopped_with_a_model(http, worker, "feedback")
    artifacts = model.parent
    artifacts.rename(artifacts.with_name("unmounted"))
    with pytest.raises(ExceptionGroup, match="failed for 1 of 1"):
        write_missing_cards(parts.store, parts.files)
    artifacts.with_name("unmounted").rename(artifacts)
    write_missing_cards(parts.store, parts.files)
    assert (model / "README.md").is_file()


def test_files_that_are_gone_are_a_problem_and_no_empty_archive(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_trials=1, data={"train": "train.csv", "test": "test.csv"})
    run(worker, 0.5)
    scoring = worker.take()
    model = Path(http.get("/v1/studies/feedback/best").json()["model_directory"])
    (model / "weights.bin").unlink()
    token = {"Lease-Token": scoring["token"]}
    for answer in (
        http.get("/v1/studies/feedback/best/model"),
        http.get("/v1/studies/feedback/trials/0/artifacts/weights.bin"),
        http.get(f"/v1/leases/{scoring['lease_id']}/model/weights.bin", headers=token),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "no-model")
        assert f"{model / 'weights.bin'} is gone; restore it from a backup" in answer.json()["detail"]
    assert http.get("/v1/studies/feedback/trials/0/artifacts/adapter/weights.bin").content == b"lora"


def test_an_archive_that_nobody_reads_leaves_no_file_open(tmp_path: Path) -> None:
    file = StoredFile(folder="artifacts/1", name="weights.bin", size_bytes=0, sha256=hashlib.sha256().hexdigest())
    (tmp_path / "artifacts/1").mkdir(parents=True)
    (tmp_path / file.path).touch()
    archive = tar_model(FolderFiles(tmp_path), [file], "feedback")
    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always")
        del archive
    assert unclosed == []
