"""Deleting a study: all of it, in any state, and whoever works on it hears of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Engine,
    Float,
    Integer,
    String,
    Text,
    func,
    insert,
    inspect,
    select,
    text,
)

from service.failpoints import Injected, armed
from service.files.folder_files import FolderFiles
from service.lifecycle.model_folders import remove_unused_folders
from service.settings import Settings
from service.store.optuna import tables as optuna_tables
from service.store.sql import tables
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"
KEPT = {
    "worker",
    "service_beat",
    "version_info",
    "alembic_version",
    "dataset",
    "files_folder",
    "idempotency_key",
    "dropped_folder",
}


def rows(engine: Engine) -> dict[str, int]:
    """Rows of every table that holds something of studies."""
    every = [*tables.metadata.tables.values(), *optuna_tables.metadata.tables.values()]
    with engine.connect() as connection:
        counted = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in every
        }
    return {name: count for name, count in counted.items() if count and name not in KEPT}


def fill(http: TestClient, worker: HandWorker) -> dict[str, Any]:
    """A study with one finished trial that left a model, a pruned one, and one that runs."""
    options = {"n_startup_trials": 1, "n_warmup_steps": 0}
    http.post("/v1/studies", json=spec(n_trials=5, pruner={"name": "median", "options": options}))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    worker.report(held, 2, 0.5, final=True)
    worker.upload(held, "weights.bin", b"model")
    worker.finish(held)
    worker.run_trial(0.9, 0.9)
    assert http.get(f"{STUDY}/trials/1").json()["decisions"]
    held = worker.take()
    worker.report(held, 1, 0.5)
    http.put(f"/v1/leases/{held['lease_id']}/log", content="line", headers={"Lease-Token": held["token"]})
    return held


@pytest.mark.parametrize("before", [None, "pause", "stop", "cancel"])
def test_nothing_is_left_in_any_state(
    http: TestClient, worker: HandWorker, engine: Engine, settings: Settings, before: str | None
) -> None:
    held = fill(http, worker)
    if before:
        http.post(f"{STUDY}/{before}")
    assert any((settings.files / "artifacts").iterdir())
    assert http.delete(STUDY).status_code == 204
    assert rows(engine) == {}
    assert list((settings.files / "artifacts").iterdir()) == []
    assert worker.heartbeat(held) == "lost"
    assert worker.report(held, 2, 0.4)["directive"] == "lost"
    assert worker.finish(held).json()["code"] == "lease-lost"
    assert http.get(STUDY).status_code == http.delete(STUDY).status_code == 404
    assert worker.dispatch() == []


MADE_UP: dict[type, Any] = {
    String: "x",
    Text: "x",
    Integer: 1,
    BigInteger: 1,
    Float: 0.5,
    Boolean: False,
    JSON: {},
    tables.Instant: datetime.now(UTC),
}
"""A value for each type of column."""


def test_rows_of_every_table_that_names_a_study_go_with_it(http: TestClient, engine: Engine) -> None:
    http.post("/v1/studies", json=spec())
    of_studies = [table for table in tables.metadata.sorted_tables if "study_uuid" in table.c]
    with engine.begin() as connection:
        uuid = connection.execute(select(tables.study_spec.c.uuid)).scalar_one()
        for table in of_studies:
            if table is tables.study_summary:
                continue  # each study has its row already
            needed = [one for one in table.c if not one.nullable and one is not table.autoincrement_column]
            row = {one.name: MADE_UP[type(one.type)] for one in needed} | {"study_uuid": uuid}
            connection.execute(insert(table), row)
    assert {table.name for table in of_studies} <= rows(engine).keys()
    assert http.delete(STUDY).status_code == 204
    assert rows(engine) == {}


def test_a_new_study_of_the_name_has_nothing_of_the_old(http: TestClient, worker: HandWorker) -> None:
    fill(http, worker)
    http.delete(STUDY)
    assert http.post("/v1/studies", json=spec(n_trials=1)).status_code == 201
    assert http.get(f"{STUDY}/trials").json()["trials"] == []
    assert http.get(f"{STUDY}/best").json()["code"] == "no-best"
    worker.prepare()
    worker.run_trial(0.75)
    assert http.get(f"{STUDY}/best").json()["value"] == 0.75


def test_other_studies_are_left_alone(http: TestClient, worker: HandWorker, engine: Engine) -> None:
    fill(http, worker)
    before = rows(engine)
    http.post("/v1/studies", json=spec(name="other"))
    http.delete("/v1/studies/other")
    assert rows(engine) == before


def test_a_crash_before_the_commit_leaves_all_and_after_it_only_files_to_sweep(
    http: TestClient, app: Any, worker: HandWorker, engine: Engine, settings: Settings
) -> None:
    fill(http, worker)

    def fail() -> None:
        raise Injected

    before = rows(engine)
    with armed("delete.before_commit", fail), pytest.raises(Injected):
        http.delete(STUDY)
    assert rows(engine) == before
    with armed("delete.after_commit", fail), pytest.raises(Injected):
        http.delete(STUDY)
    assert rows(engine) == {}
    assert any((settings.files / "artifacts").iterdir())
    remove_unused_folders(app.state.parts.store, FolderFiles(settings.files))
    assert list((settings.files / "artifacts").iterdir()) == []


def test_sweeping_spares_models_and_what_is_being_uploaded(
    http: TestClient, app: Any, worker: HandWorker, settings: Settings
) -> None:
    held = fill(http, worker)
    uploading = (settings.files / "artifacts") / held["lease_id"]
    uploading.mkdir()
    before = {path.name for path in (settings.files / "artifacts").iterdir()}
    remove_unused_folders(app.state.parts.store, FolderFiles(settings.files))
    assert {path.name for path in (settings.files / "artifacts").iterdir()} == before
    remove_unused_folders(app.state.parts.store, FolderFiles(Path("nowhere")))


def test_every_table_is_known_to_the_test(engine: Engine) -> None:
    ours = set(tables.metadata.tables) | set(optuna_tables.metadata.tables)
    assert set(inspect(engine).get_table_names()) - ours == {"spezia_alembic_version"}
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
