"""Listing and deleting uploaded models: each one's own, and never one that a study needs."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.errors import Unavailable
from service.files.folder_files import FolderFiles
from service.lifecycle.pretrained import remove_model as removing
from service.settings import Settings
from service.store import pretrained
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client_of
from tests.service.stories.test_pretrained import GOOD, SHA256, left, tarred, weights

OTHER = GOOD | {
    "model.safetensors": weights(n_bytes=8, header={"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
}
PATH = f"/v1/models/{SHA256}"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def uploaded(http: TestClient, files: dict[str, bytes] = GOOD) -> str:
    answer = http.post("/v1/models", content=tarred(files))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["sha256"])


def listed(http: TestClient, **asked: object) -> list[str]:
    return [model["sha256"] for model in http.get("/v1/models", params=asked).json()["models"]]


def test_models_are_listed_in_pages_and_deleted_with_their_files(http: TestClient, settings: Settings) -> None:
    both = sorted([uploaded(http), uploaded(http, OTHER)])
    assert listed(http) == both
    page = http.get("/v1/models", params={"limit": 1}).json()
    assert page["models"] == [http.get(f"/v1/models/{both[0]}").json()]
    assert listed(http, limit=1, page_token=page["next_page_token"]) == both[1:]
    assert http.delete(PATH).status_code == 204
    assert (http.get(PATH).status_code, http.delete(PATH).status_code) == (404, 404)
    assert listed(http) == [one for one in both if one != SHA256]
    assert left(settings) == set(both) - {SHA256}
    assert uploaded(http) == SHA256  # as new


def test_a_model_stays_while_studies_need_it(http: TestClient, worker: HandWorker, settings: Settings) -> None:
    uploaded(http)
    model = {"name": f"sha256:{SHA256}"}
    for name in ("second", "first"):
        assert http.post("/v1/studies", json=spec(name=name, model=model)).status_code == 201
    assert http.post("/v1/studies", json=spec(name="on-another")).status_code == 201
    refused = http.delete(PATH)
    assert (refused.status_code, refused.json()["code"]) == (409, "model-in-use")
    assert "have not ended: first, second; cancel or delete them first" in refused.json()["detail"]
    assert left(settings) == {SHA256}
    assert http.post("/v1/studies/first/cancel").status_code == 202
    assert http.delete("/v1/studies/second").status_code == 204
    assert http.delete(PATH).status_code == 204
    assert left(settings) == set()
    again = http.post("/v1/studies", json=spec(name="third", model=model))
    assert (again.status_code, again.json()["errors"][0]["field"]) == (422, "model.name")


@ON_SQLITE
def test_a_replay_needs_the_model_as_well(http: TestClient, worker: HandWorker) -> None:
    uploaded(http)
    assert http.post("/v1/studies", json=spec(n_trials=1, model={"name": f"sha256:{SHA256}"})).status_code == 201
    worker.prepare()
    worker.run_trial(0.5)
    assert http.post("/v1/studies/feedback/trials/0/replay").status_code == 202
    assert http.delete(PATH).status_code == 409
    assert http.post("/v1/studies/feedback/trials/0/cancel").status_code == 202
    assert http.delete(PATH).status_code == 204


@ON_SQLITE
def test_a_model_whose_files_cannot_be_removed_is_there_as_before(
    http: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_self: FolderFiles, _folder: str) -> None:
        raise Unavailable("the bucket is silent")

    uploaded(http)
    with monkeypatch.context() as patched:
        patched.setattr(FolderFiles, "remove", silent)
        assert http.delete(PATH).status_code == 503
    assert listed(http) == [SHA256]
    assert http.delete(PATH).status_code == 204


@pytest.fixture
def keyed(app: FastAPI) -> dict[str, TestClient]:
    """Clients of two people and of an admin."""
    return {
        name: client_of(app, name, scope) for name, scope in (("ann", "write"), ("bob", "write"), ("root", "admin"))
    }


@ON_SQLITE
def test_each_lists_and_deletes_their_own_and_an_admin_all(keyed: dict[str, TestClient], settings: Settings) -> None:
    ann, bob, root = keyed.values()
    uploaded(ann)
    assert (listed(ann), listed(bob), listed(root)) == ([SHA256], [], [SHA256])
    assert bob.delete(PATH).status_code == 404
    uploaded(bob)
    assert listed(root) == [SHA256], "each once"
    assert bob.post("/v1/studies", json=spec(model={"name": f"sha256:{SHA256}"})).status_code == 201
    assert ann.delete(PATH).status_code == 204, "the study is another's"
    assert left(settings) == {SHA256}, "bob has it still"
    assert (listed(ann), listed(bob)) == ([], [SHA256])
    for client in (bob, root):
        assert client.delete(PATH).status_code == 409
    assert bob.delete("/v1/studies/feedback").status_code == 204
    assert root.delete(PATH).status_code == 204
    assert (listed(bob), left(settings)) == ([], set())


def test_a_model_that_is_deleted_while_the_same_is_uploaded_is_whole_or_not_there(
    http: TestClient, app: FastAPI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upload has put its files where they are already, and the deletion comes before its row."""
    uploaded(http)
    locked = pretrained.lock

    def overtaken(tx: object) -> None:
        monkeypatch.setattr(pretrained, "lock", locked)
        (settings.files / "models" / SHA256 / "config.json").unlink()  # as the deletion has done
        locked(tx)  # type: ignore[arg-type]

    monkeypatch.setattr(pretrained, "lock", overtaken)
    answer = http.post("/v1/models", content=tarred(GOOD))
    assert (answer.status_code, "send it again" in answer.json()["detail"]) == (503, True)
    assert http.post("/v1/models", content=tarred(GOOD)).status_code == 200
    assert left(settings) == {SHA256}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_a_study_that_begins_and_a_model_that_is_deleted_one_waits_for_the_other(
    http: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(http)
    looked, go_on = Event(), Event()
    found = pretrained.find_for_study

    def slowly(tx: object, sha256: str) -> object:
        model = found(tx, sha256)  # type: ignore[arg-type]
        looked.set()
        assert go_on.wait(60)
        return model

    monkeypatch.setattr(pretrained, "find_for_study", slowly)
    with ThreadPoolExecutor(2) as pool:
        creation = pool.submit(http.post, "/v1/studies", json=spec(model={"name": f"sha256:{SHA256}"}))
        assert looked.wait(60)
        deletion = pool.submit(removing.remove_model, app.state.parts.store, app.state.parts.files, SHA256)
        with pytest.raises(TimeoutError):
            deletion.result(0.5)
        go_on.set()
        assert creation.result(60).status_code == 201
        with pytest.raises(removing.ModelInUse):
            deletion.result(60)
    assert listed(http) == [SHA256]
