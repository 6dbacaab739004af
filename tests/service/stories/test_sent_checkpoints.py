"""Checkpoints of paused trials that go through the service, where workers share no folder."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import HOLDER_SECONDS, LEASE_SECONDS
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.held_trial import let_pass, trial
from tests.service.rung_worker import RungWorker
from tests.service.sending import CONTENT, Scene, falling, left_files

STUDY = "/v1/studies/feedback"
Files = Callable[[], list[Path]]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def scene(http: TestClient) -> Scene:
    return Scene(http)


def n_rows(app: FastAPI) -> int:
    """Number of checkpoints that the service knows of."""
    with app.state.parts.store.reading() as tx:
        return int(tx.connection.exec_driver_sql("SELECT count(*) FROM sent_checkpoint").scalar_one())


@pytest.fixture
def files(app: FastAPI) -> Files:
    """What the reaper leaves of uploaded files."""
    return partial(left_files, app.state.parts.store, app.state.settings.files)


def test_a_busy_holder_sends_the_checkpoint_that_another_worker_goes_on_from(scene: Scene, files: Files) -> None:
    assert scene.wanted() == []
    wanted = scene.ask()
    assert {name: wanted[name] for name in ("number", "attempt", "step")} == {"number": 0, "attempt": 1, "step": 1}
    assert wanted["within_seconds"] == 50.0
    assert scene.other.ask() is None
    assert scene.holder.send_checkpoint(wanted, CONTENT).status_code == 204
    assert scene.wanted() == []
    held = scene.receive()
    sent = {"size_bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert held["resume"] == {"attempt": 1, "step": 1, "sent": sent}
    assert scene.other.fetch_checkpoint(held).content == CONTENT
    assert scene.other.train(held, falling) == "paused"
    assert [one["resumed_from"] for one in trial(scene.http)["attempts"]] == [0, 1]
    assert files() == []


@ON_SQLITE
def test_a_checkpoint_stays_until_its_trial_pauses_again_or_ends(scene: Scene, files: Files) -> None:
    scene.send()
    held = scene.receive()
    assert len(files()) == 1
    assert scene.other.report(held, 2, 0.1, final=False)["directive"] == "pause"
    assert scene.other.release(held, "paused").status_code == 204
    assert files() == []


@ON_SQLITE
def test_a_study_that_is_deleted_leaves_no_checkpoint(scene: Scene, app: FastAPI) -> None:
    scene.send()
    assert len(list(app.state.settings.files.glob("artifacts/*/checkpoint"))) == 1
    assert scene.http.delete(STUDY).status_code == 204
    assert list(app.state.settings.files.glob("artifacts/*/checkpoint")) == []
    assert n_rows(app) == 0


@ON_SQLITE
def test_the_worker_after_a_receiver_that_was_lost_fetches_the_checkpoint_again(
    scene: Scene, beating_store: Store, clock: FakeClock
) -> None:
    scene.send()
    scene.receive()
    let_pass(beating_store, clock, LEASE_SECONDS + 30)
    third = RungWorker(scene.http)
    held = third.ask()
    while held is not None and held["number"] != 0:
        held = third.ask()
    assert held is not None
    assert held["resume"]["sent"]["size_bytes"] == len(CONTENT)
    assert third.fetch_checkpoint(held).content == CONTENT


@ON_SQLITE
def test_a_checkpoint_that_a_receiver_cannot_use_is_forgotten_and_the_trial_begins_anew(
    scene: Scene, files: Files
) -> None:
    scene.send(b"damaged")
    held = scene.receive()
    assert scene.other.release(held, "checkpoint_lost").status_code == 204
    held = scene.receive()
    assert held["resume"] is None
    assert files() == []
    assert scene.other.fetch_checkpoint(held).json()["code"] == "no-checkpoint"


@ON_SQLITE
def test_a_checkpoint_that_does_not_come_costs_what_it_did_without_sending(
    scene: Scene, files: Files, beating_store: Store, clock: FakeClock
) -> None:
    wanted = scene.ask()
    let_pass(beating_store, clock, HOLDER_SECONDS - 30)
    assert scene.wanted()[0]["within_seconds"] == pytest.approx(30.0)
    let_pass(beating_store, clock, 30)
    assert scene.wanted() == []
    assert scene.receive()["resume"] is None
    files()  # a round of the reaper
    late = scene.holder.send_checkpoint(wanted, CONTENT)
    assert (late.status_code, late.json()["code"]) == (409, "lease-lost")
    assert files() == []


@ON_SQLITE
def test_the_holder_may_take_the_trial_itself_though_its_checkpoint_was_asked_for(scene: Scene, files: Files) -> None:
    wanted = scene.ask()
    scene.holder.release(scene.busy_with)
    held = scene.holder.ask()
    assert held is not None
    assert (held["number"], held["resume"]) == (0, {"attempt": 1, "step": 1, "sent": None})
    files()  # a round of the reaper
    assert scene.holder.send_checkpoint(wanted, CONTENT).status_code == 409


@ON_SQLITE
@pytest.mark.parametrize("seconds", [None, 0.0])
def test_a_checkpoint_is_not_asked_for_where_sending_saves_no_known_time(
    http: TestClient, seconds: float | None
) -> None:
    scene = Scene(http, seconds_per_epoch=seconds)
    assert scene.other.ask() is None
    assert scene.wanted() == []


@ON_SQLITE
def test_a_holder_that_is_free_is_waited_for_and_not_asked(scene: Scene, app: FastAPI) -> None:
    scene.holder.release(scene.busy_with)
    scene.other.train(scene.other.take(), falling)  # trial 1
    assert scene.other.ask() is None
    assert n_rows(app) == 0


@ON_SQLITE
def test_a_worker_of_other_versions_neither_asks_nor_receives(scene: Scene) -> None:
    older = RungWorker(scene.http, versions={"torch": "0"})
    assert older.ask() is None
    assert scene.wanted() == []
    scene.send()
    assert older.ask() is None
    assert scene.receive()["resume"]["sent"] is not None


@ON_SQLITE
def test_a_checkpoint_that_comes_twice_is_kept_once(scene: Scene) -> None:
    wanted = scene.ask()
    for content in (CONTENT, b"another"):
        assert scene.holder.send_checkpoint(wanted, content).status_code == 204
    assert scene.other.fetch_checkpoint(scene.receive()).content == CONTENT


@ON_SQLITE
def test_only_the_token_of_the_heartbeat_lets_a_checkpoint_in(scene: Scene, files: Files) -> None:
    wanted = scene.ask()
    forged = wanted | {"token": scene.busy_with["token"]}
    assert scene.holder.send_checkpoint(forged, CONTENT).json()["code"] == "lease-lost"
    assert scene.other.ask() is None
    assert files() == []
