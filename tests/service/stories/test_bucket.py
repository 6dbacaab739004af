"""A service that keeps uploaded files in a bucket: the same answers, and nothing in a folder."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.errors import Unavailable
from service.files.bucket_files import BucketFiles
from service.files.folder_files import FolderFiles
from service.lifecycle.database.back_up import back_up, restore
from service.lifecycle.database.check_database import check_database
from service.lifecycle.database.kept_files import copy_files, kept_files
from service.lifecycle.model_folders import remove_dropped_folders
from service.lifecycle.models.write_card import write_missing_cards
from service.settings import Settings
from service.store.store import Store
from tests.bucket import BUCKET, S3, s3
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.sending import CONTENT, Scene
from tests.service.stories.test_pretrained import GOOD, SHA256, tarred

CSV = b"text,label\nwhat a film,good\nnever again,bad\n"
Keys = Callable[[], list[str]]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = ON_SQLITE  # the database has no part in it


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Keys]:
    """A prefix of a bucket and what lists its keys: of fsspec's file system in memory, or of a server of S3."""
    prefix = uuid4().hex
    if request.param == "memory":
        memory = fsspec.filesystem("memory")
        files = BucketFiles(memory, f"files/{prefix}", tmp_path / "home/incoming")
        monkeypatch.setattr("service.app.open_files", lambda _settings: files)
        return f"s3://files/{prefix}", lambda: [key.removeprefix("/files/") for key in memory.find(f"files/{prefix}")]
    server: S3 = request.getfixturevalue("s3_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{prefix}", lambda: [key for key in server.object_keys() if key.startswith(prefix)]


@pytest.fixture
def keys(bucket: tuple[str, Keys]) -> Keys:
    return bucket[1]


@pytest.fixture
def settings(bucket: tuple[str, Keys], database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, files_url=bucket[0], n_workers=0)


def with_a_model(http: TestClient, worker: HandWorker) -> dict[str, str]:
    """A study that has ended, with the model of its one trial; the reaper has written its card."""
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    assert worker.upload(held, "model.safetensors", b"weights" * 1000).status_code == 204
    assert worker.upload(held, "adapter/config.json", b"{}").status_code == 204
    assert worker.finish(held).status_code == 200
    parts = http.app.state.parts  # type: ignore[attr-defined]
    write_missing_cards(parts.store, parts.files)
    return held


def test_the_model_of_a_study_is_kept_downloaded_and_deleted_with_it(
    http: TestClient, worker: HandWorker, keys: Keys, settings: Settings
) -> None:
    with_a_model(http, worker)
    assert sorted(key.rpartition("/")[2] for key in keys()) == ["README.md", "config.json", "model.safetensors"]
    assert [path for path in settings.files.rglob("*") if path.is_file() and path.suffix != ".db"] == []
    best = http.get("/v1/studies/feedback/best").json()
    assert (best["model"], best["model_directory"]) == ("/v1/studies/feedback/best/model", None)
    with tarfile.open(fileobj=io.BytesIO(http.get(best["model"]).content)) as archive:
        content = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert content.pop("feedback/README.md").startswith(b"---")
    assert content == {"feedback/model.safetensors": b"weights" * 1000, "feedback/adapter/config.json": b"{}"}
    assert http.delete("/v1/studies/feedback").status_code == 204
    assert keys() == []


def test_a_worker_that_tells_its_result_waits_for_no_bucket(
    http: TestClient, worker: HandWorker, app: FastAPI, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=2, training={"keep_models": 1})).status_code == 201
    worker.prepare()
    for value in (0.5, 0.4):
        held = worker.take()
        worker.report(held, 1, value, final=True)
        assert worker.upload(held, "model.safetensors", b"weights").status_code == 204
        with monkeypatch.context() as patched:
            for verb in ("send", "keep", "has", "has_folder", "remove"):
                patched.setattr(BucketFiles, verb, lambda *_: pytest.fail("asked the bucket"))
            assert worker.finish(held).status_code == 200
    assert len(keys()) == 2
    remove_dropped_folders(app.state.parts.store, app.state.parts.files)
    assert [key.split("/")[2] for key in keys()] == [held["lease_id"]]


def test_one_file_is_downloaded_whole_or_in_part(http: TestClient, worker: HandWorker) -> None:
    with_a_model(http, worker)
    path, whole = "/v1/studies/feedback/trials/0/artifacts/model.safetensors", b"weights" * 1000
    answer = http.get(path)
    assert (answer.content, answer.headers["content-length"]) == (whole, "7000")
    etag = answer.headers["etag"]
    for asked, content, told in (
        ("bytes=0-6", b"weights", "bytes 0-6/7000"),
        ("bytes=6993-", b"weights", "bytes 6993-6999/7000"),
        ("bytes=-7", b"weights", "bytes 6993-6999/7000"),
        ("bytes=6999-9999", b"s", "bytes 6999-6999/7000"),
    ):
        part = http.get(path, headers={"Range": asked, "If-Range": etag})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, content, told), asked
    for ignored in ("bytes=0-1,3-4", "bytes=-", "lines=0-1", "bytes=a-b"):
        assert http.get(path, headers={"Range": ignored}).content == whole, ignored
    assert http.get(path, headers={"Range": "bytes=0-6", "If-Range": '"another"'}).content == whole
    refused = http.get(path, headers={"Range": "bytes=7000-"})
    assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */7000")


def test_data_sets_and_models_are_uploaded_shown_and_handed_out(
    http: TestClient, worker: HandWorker, keys: Keys
) -> None:
    sha256 = hashlib.sha256(CSV).hexdigest()
    assert http.post("/v1/datasets", content=CSV).status_code == 201
    assert http.post("/v1/datasets", content=CSV).status_code == 200
    assert http.get(f"/v1/datasets/{sha256}").content == CSV
    assert http.get(f"/v1/datasets/{sha256}/preview").json()["n_rows_read"] == 2
    model = http.post("/v1/models", content=tarred(GOOD))
    assert (model.status_code, model.json()["sha256"]) == (201, SHA256)
    assert http.post("/v1/studies", json=spec(model={"name": f"sha256:{SHA256}"})).status_code == 201
    held = worker.take()
    lease = {"Lease-Token": held["token"]}
    for name, content in GOOD.items():
        assert http.get(f"/v1/leases/{held['lease_id']}/pretrained/{name}", headers=lease).content == content
    assert len(keys()) == 1 + len(GOOD)


def test_a_checkpoint_is_sent_through_the_bucket(http: TestClient, keys: Keys) -> None:
    scene = Scene(http)
    scene.send()
    assert scene.other.fetch_checkpoint(scene.receive()).content == CONTENT
    assert http.delete("/v1/studies/feedback").status_code == 204
    assert keys() == []


def test_what_a_silent_bucket_does_not_remove_goes_once_it_answers(
    http: TestClient, worker: HandWorker, app: FastAPI, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_model(http, worker)
    parts = app.state.parts

    def silent(_self: BucketFiles, _folder: str) -> None:
        raise Unavailable("the bucket is silent")

    with monkeypatch.context() as patched:
        patched.setattr(BucketFiles, "remove", silent)
        assert http.delete("/v1/studies/feedback").status_code == 204
        remove_dropped_folders(parts.store, parts.files)
    assert len(keys()) == 3
    remove_dropped_folders(parts.store, parts.files)
    assert keys() == []


def test_a_worker_that_lost_its_lease_leaves_the_model_of_its_successor_alone(
    http: TestClient, worker: HandWorker, app: FastAPI, keys: Keys
) -> None:
    held = with_a_model(http, worker)
    assert worker.upload(held, "model.safetensors", b"too late").status_code == 409
    path = "/v1/studies/feedback/trials/0/artifacts/model.safetensors"
    assert http.get(path).content == b"weights" * 1000


def test_what_comes_after_the_study_was_deleted_leaves_nothing(
    http: TestClient, worker: HandWorker, app: FastAPI, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    worker.prepare()
    held = worker.take()
    parts, send = app.state.parts, BucketFiles.send

    def send_slowly(self: BucketFiles, *what: Any) -> None:
        send(self, *what)
        assert http.delete("/v1/studies/feedback").status_code == 204
        remove_dropped_folders(parts.store, parts.files)
        send(self, *what)

    monkeypatch.setattr(BucketFiles, "send", send_slowly)
    assert worker.upload(held, "model.safetensors", b"weights").status_code == 409
    assert len(keys()) == 1
    remove_dropped_folders(parts.store, parts.files)
    assert keys() == []


def test_a_bucket_is_backed_up_checked_and_copied_to_a_folder_and_back(
    http: TestClient, worker: HandWorker, app: FastAPI, tmp_path: Path
) -> None:
    with_a_model(http, worker)
    assert http.post("/v1/datasets", content=CSV).status_code == 201
    parts = app.state.parts
    store: Store = parts.store
    named = kept_files(store)
    assert len(named) == 4
    assert all(one.state == "well" for one in check_database(store, parts.files, "it", 60))
    backup = back_up(store, parts.files, tmp_path / "backup")
    assert (backup.n_files, backup.missing) == (4, [])
    parts.files.remove("artifacts")
    assert [one.check for one in check_database(store, parts.files, "it", 60) if one.state == "wrong"] == ["files"]
    restore(tmp_path / "backup", store, parts.files, replaces=True)
    assert all(one.state == "well" for one in check_database(store, parts.files, "it", 60))
    assert copy_files(named, parts.files, FolderFiles(tmp_path / "copied")) == []
    assert all((tmp_path / "copied" / file.path).is_file() for file in named)


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
@pytest.mark.slow
def test_credentials_are_in_no_row_and_no_line_of_the_log(
    http: TestClient,
    worker: HandWorker,
    app: FastAPI,
    settings: Settings,
    s3_server: S3,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_a_model(http, worker)
    secret = s3_server.environment["AWS_SECRET_ACCESS_KEY"]
    database = Path(settings.database.removeprefix("sqlite:///"))
    written = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    assert secret.encode() not in written
    assert secret not in caplog.text
    assert secret not in repr(settings)


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
@pytest.mark.slow
def test_a_service_does_not_start_on_a_bucket_that_is_not_there(
    settings: Settings, clock: FakeClock, bucket: tuple[str, Keys]
) -> None:
    elsewhere = settings.model_copy(update={"files_url": "s3://nowhere"})
    with pytest.raises(ValueError, match="SPEZIA_FILES_URL"):
        create_app(elsewhere, clock)
