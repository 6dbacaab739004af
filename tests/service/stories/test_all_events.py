"""What happens in all studies, as one stream of server-sent events."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, text

from service.errors import Unauthorized
from service.lifecycle.studies.follow_events import find_beginning, find_followed, follow_all_events
from service.routes.events import get_all_events
from service.store.sql.tables import event
from service.store.store import Store
from service.store.transaction import Viewer
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client_of
from tests.service.told_events import told_by


@pytest.fixture
def store(app: FastAPI) -> Store:
    store: Store = app.state.parts.store
    return store


async def let_in() -> None:
    """No key was revoked."""


def told(store: Store, after: int) -> list[tuple[str, str]]:
    happened, is_over, _ = follow_all_events(store, after)
    assert not is_over
    return [(one.payload["study"], one.kind) for one in happened]


def listen(
    app: FastAPI, begin: int, acts: list[Callable[[], Any]], admit_again: Callable[[], Any] = let_in
) -> list[tuple[str, dict[str, Any]]]:
    """The first events of a stream, an act after each."""
    heard: list[tuple[str, dict[str, Any]]] = []

    async def read() -> None:
        with anyio.fail_after(60):
            async for _, kind, data in told_by(await get_all_events(begin, app.state.parts, admit_again)):
                heard.append((kind, data))
                if len(heard) > len(acts):
                    break
                await run_sync(acts[len(heard) - 1])

    anyio.run(read)
    return heard


def test_a_reader_hears_of_all_studies_from_now_on(
    app: FastAPI, http: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.events.POLL_SECONDS", 0.01)
    assert http.post("/v1/studies", json=spec(name="before")).status_code == 201
    begin = find_beginning(store, None)
    acts = [
        partial(http.post, "/v1/studies", json=spec(name="new")),
        partial(http.post, "/v1/studies/before/pause"),
        partial(http.post, "/v1/studies/new/pause"),
    ]
    (ready, nothing), *happened = listen(app, begin, acts)
    assert (ready, nothing) == ("ready", {})
    assert [(kind, data["study"], data["state"]) for kind, data in happened] == [
        ("study", "new", "running"),
        ("study", "before", "paused"),
        ("study", "new", "paused"),
    ]


def test_a_reader_that_comes_back_is_told_what_has_happened_meanwhile(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    http.post("/v1/studies", json=spec(name="one", n_trials=1))
    (seen,), _, _ = follow_all_events(store, find_beginning(store, 0))
    worker.prepare()
    worker.run_trial(0.5)
    http.post("/v1/studies", json=spec(name="two"))
    assert told(store, find_beginning(store, seen.sequence)) == [
        ("one", "trial"),
        ("one", "value"),
        ("one", "trial"),
        ("one", "study"),
        ("two", "study"),
    ]
    http.delete("/v1/studies/one")
    clock.advance(11)  # on PostgreSQL the events that are gone might have been late
    assert told(store, 0) == [("two", "study")]


def test_nothing_is_heard_of_the_studies_of_others(app: FastAPI, store: Store) -> None:
    for owner in ("alice", "bob"):
        assert client_of(app, owner, "write").post("/v1/studies", json=spec(name=f"of-{owner}")).status_code == 201
    bob, admin = (Viewer(owner="bob", sees_all=sees_all) for sees_all in (False, True))
    assert told(store.seen_by(bob), 0) == [("of-bob", "study")]
    assert told(store.seen_by(admin), 0) == told(store, 0)


def test_a_reader_passes_over_what_it_does_not_see(http: TestClient, store: Store) -> None:
    http.post("/v1/studies", json=spec())
    stranger = store.seen_by(Viewer(owner="nobody", sees_all=False))
    assert follow_all_events(stranger, 0) == ([], False, find_beginning(store, None))


def test_a_reader_that_claims_to_be_ahead_begins_at_the_end(http: TestClient, store: Store) -> None:
    http.post("/v1/studies", json=spec())
    assert find_beginning(store, 2**63 - 1) == find_beginning(store, None) > 0


def test_many_events_are_told_over_many_pages(http: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.lifecycle.studies.follow_events.PAGE", 2)
    http.post("/v1/studies", json=spec())
    for verb in ("pause", "resume", "pause", "resume"):
        http.post(f"/v1/studies/feedback/{verb}")
    heard = listen(app, 0, [lambda: None] * 5)
    assert [data.get("state") for _, data in heard[1:]] == ["running", "paused", "running", "paused", "running"]


def test_a_stream_ends_when_its_key_is_good_no_more(app: FastAPI, http: TestClient) -> None:
    http.post("/v1/studies", json=spec())

    async def revoked() -> None:
        raise Unauthorized("the key was revoked")

    assert [kind for kind, _ in listen(app, 0, [lambda: None] * 9, revoked)] == ["ready", "study"]


def test_an_event_whose_transaction_ends_late_is_told(
    http: TestClient, store: Store, engine: Engine, clock: FakeClock
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("on SQLite there is one writer at a time")
    http.post("/v1/studies", json=spec(name="slow"))
    begin = find_beginning(store, None)
    with engine.connect() as slow:
        row = {
            "study_uuid": find_followed(store, "slow"),
            "kind": "study",
            "payload": {"state": "paused"},
            "at": clock.now(),
        }
        slow.execute(insert(event).values(row))
        http.post("/v1/studies", json=spec(name="quick"))
        assert told(store, begin) == []
        assert find_beginning(store, None) == begin
        slow.commit()
    assert told(store, begin) == [("slow", "study"), ("quick", "study")]


def test_a_transaction_that_was_undone_holds_nothing_back(
    http: TestClient, store: Store, engine: Engine, clock: FakeClock
) -> None:
    http.post("/v1/studies", json=spec(name="undone"))
    begin = find_beginning(store, None)
    with engine.connect() as undone:
        row = {"study_uuid": find_followed(store, "undone"), "kind": "study", "payload": {}, "at": clock.now()}
        undone.execute(insert(event).values(row))
        undone.rollback()
    http.post("/v1/studies", json=spec(name="quick"))
    until = time.monotonic() + 60  # other tests write on the server too; the clock of the service stands still
    while not (found := told(store, begin)) and time.monotonic() < until:
        pass
    assert found == [("quick", "study")]


def test_a_transaction_that_runs_on_elsewhere_holds_events_back_for_a_while(
    http: TestClient, store: Store, engine: Engine, clock: FakeClock
) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("on SQLite there is one writer at a time")
    http.post("/v1/studies", json=spec(name="undone"))
    begin = find_beginning(store, None)
    with engine.connect() as elsewhere, engine.connect() as undone:
        elsewhere.execute(text("SELECT pg_current_xact_id()"))
        undone.execute(text("SELECT nextval(pg_get_serial_sequence('event', 'sequence'))"))
        http.post("/v1/studies", json=spec(name="quick"))
        assert told(store, begin) == []
        clock.advance(11)
        assert told(store, begin) == [("quick", "study")]
