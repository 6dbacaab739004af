"""What checkpoints that workers send each other may take together."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.errors import TooLarge
from service.lifecycle.checkpoints.upload_checkpoint import begin_checkpoint, upload_checkpoint
from service.settings import Settings
from tests.service.sending import Scene

MAX_BYTES = 1000


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, n_workers=0, sent_checkpoint_bytes=MAX_BYTES)


@pytest.fixture
def scene(http: TestClient) -> Scene:
    return Scene(http)


def test_what_does_not_fit_is_refused_and_leaves_nothing(scene: Scene, app: FastAPI) -> None:
    wanted = scene.ask()
    assert wanted["max_bytes"] == MAX_BYTES
    refused = scene.holder.send_checkpoint(wanted, b"x" * (MAX_BYTES + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "too-large")
    assert "SPEZIA_SENT_CHECKPOINT_BYTES" in refused.json()["detail"]
    assert list(app.state.settings.files.glob("artifacts/*/*")) == []
    assert scene.holder.send_checkpoint(wanted, b"x" * MAX_BYTES).status_code == 204


def test_of_two_that_come_at_once_only_what_fits_is_kept(scene: Scene, app: FastAPI) -> None:
    wanted, parts = scene.ask(), app.state.parts
    which = (wanted["lease_id"], wanted["token"])
    with pytest.raises(TooLarge):  # before all of it has come
        begin_checkpoint(parts.store, parts.files, MAX_BYTES, *which).write(b"x" * (MAX_BYTES + 1))
    upload = begin_checkpoint(parts.store, parts.files, MAX_BYTES, *which)
    upload.write(b"x" * 600)
    with pytest.raises(TooLarge, match="leave no room"):
        upload_checkpoint(parts.store, parts.files, upload, 599, *which)  # others have come meanwhile
    upload.discard()
    assert list(app.state.settings.files.glob("artifacts/*/*")) == []


def test_without_room_nothing_is_asked_for_and_what_goes_leaves_room(http: TestClient) -> None:
    first = Scene(http)
    first.send(b"x" * MAX_BYTES)
    first.receive()
    second = Scene(http, name="another")
    assert second.other.ask() is None
    assert second.wanted() == []
    assert http.delete("/v1/studies/feedback").status_code == 204
    assert [one["max_bytes"] for one in second.wanted()] == [MAX_BYTES]
