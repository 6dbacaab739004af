"""What is old of finished studies is removed in batches, and nobody misses it without hearing of it."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, text

from service.failpoints import Injected, armed
from service.lifecycle.database import prune_history as pruning
from service.lifecycle.database.prune_history import WARNING, Pruned, prune_history
from service.store import trials
from service.store.sql.tables import measurement
from service.store.store import Store
from service.store.studies import find
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is the same on both databases."""
AGE = timedelta(days=90)


@pytest.fixture
def store(http: TestClient) -> Store:
    found: Store = http.app.state.parts.store
    return found


def run_study(http: TestClient, worker: HandWorker, name: str) -> None:
    """Run a study of three trials of four evaluations; the last one is the best."""
    assert http.post("/v1/studies", json=spec(name=name)).status_code == 201
    worker.prepare()
    for number in range(3):
        worker.run_trial(*(1.0 - 0.1 * number - 0.01 * step for step in range(4)))
    assert http.get(f"/v1/studies/{name}").json()["state"] == "complete"


def prune(store: Store, *, is_dry_run: bool = False) -> dict[str, tuple[int, int]]:
    pruned: Pruned = prune_history(store, AGE, is_dry_run=is_dry_run)
    return {one.study: (one.n_events, one.n_evaluations) for one in pruned.studies}


def kinds(http: TestClient, name: str, last_event_id: int = 0) -> list[str]:
    stream = http.get(f"/v1/studies/{name}/events", headers={"Last-Event-ID": str(last_event_id)}).text
    return [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]


def test_what_is_old_goes_and_the_results_stay(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    run_study(http, worker, "old")
    best, listed = (http.get(f"/v1/studies/old/{what}").json() for what in ("best", "trials"))
    curves = [http.get(f"/v1/studies/old/trials/{number}").json()["intermediate_values"] for number in range(3)]
    clock.advance(AGE.total_seconds())
    run_study(http, worker, "young")
    clock.advance(1)
    n_events = len(kinds(http, "old"))
    assert prune(store, is_dry_run=True) == {"old": (n_events - 1, 3)}
    assert len(kinds(http, "old")) == n_events
    assert prune(store) == {"old": (n_events - 1, 3)}
    assert kinds(http, "old") == ["pruned", "study"]
    assert len(kinds(http, "young")) == n_events
    after = [http.get(f"/v1/studies/old/trials/{number}").json()["intermediate_values"] for number in range(3)]
    assert after == [curves[0], curves[1][-1:], curves[2]], "the baseline, the last evaluation, the best trial"
    told = http.get("/v1/studies/old/best").json()
    assert WARNING in told["warnings"]
    assert told | {"warnings": []} == best | {"warnings": []}
    assert http.get("/v1/studies/old/trials").json() == listed
    assert http.get("/v1/studies/old").json()["warnings"].count(WARNING) == 1
    assert prune(store) == {}


@on_sqlite
def test_a_reader_that_comes_back_hears_of_the_gap_unless_it_has_seen_all_of_it(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    run_study(http, worker, "old")
    stream = http.get("/v1/studies/old/events").text
    ids = [int(line.removeprefix("id: ")) for line in stream.splitlines() if line.startswith("id: ")]
    clock.advance(AGE.total_seconds() + 1)
    prune(store)
    assert kinds(http, "old", ids[3]) == ["pruned", "study"]
    assert kinds(http, "old", ids[-3]) == ["pruned", "study"]
    assert kinds(http, "old", ids[-2]) == ["study"]
    numbers = http.get("/v1/studies/old/curves", params={"after": ids[3]}).json()["numbers"]
    assert numbers == [0, 1, 2], "all, as it is not known which have changed"


@on_sqlite
def test_what_a_process_has_cached_before_is_read_again(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock, engine: Engine
) -> None:
    assert http.post("/v1/studies", json=spec(name="old")).status_code == 201
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True)
    other = Store(engine, clock)
    with other.reading() as tx:
        assert [one.state.name for one in trials.all_of(tx, find(tx, "old"))] == ["RUNNING"]
    worker.finish(held)
    for _ in range(2):
        worker.run_trial(0.4)
    clock.advance(AGE.total_seconds() + 1)
    prune(store)
    with other.reading() as tx:
        cached = trials.all_of(tx, find(tx, "old"))
    with store.reading() as tx:
        assert cached == trials.all_of(tx, find(tx, "old"))


@on_sqlite
def test_a_study_that_goes_on_and_ends_again_is_pruned_again(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock
) -> None:
    run_study(http, worker, "old")
    clock.advance(AGE.total_seconds() + 1)
    prune(store)
    assert http.patch("/v1/studies/old", json={"n_trials": 4}).status_code == 200
    worker.run_trial(0.9, 0.8)
    assert prune(store) == {}, "it has just ended"
    assert kinds(http, "old")[:2] == ["pruned", "study"]
    clock.advance(AGE.total_seconds() + 1)
    assert prune(store)["old"][1] == 1
    assert kinds(http, "old") == ["pruned", "study"]
    assert http.get("/v1/studies/old").json()["warnings"].count(WARNING) == 1


@on_sqlite
def test_interrupted_between_two_batches_it_goes_on_when_run_again(
    http: TestClient, worker: HandWorker, store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "ROWS_AT_ONCE", 2)
    run_study(http, worker, "old")
    clock.advance(AGE.total_seconds() + 1)
    n_batches = 0

    def die() -> None:
        nonlocal n_batches
        n_batches += 1
        if n_batches == 3:
            raise Injected

    with armed("prune.batch", die), pytest.raises(Injected):
        prune(store)
    assert kinds(http, "old")[-2:] == ["pruned", "study"], "whoever reads now hears of what is gone"
    prune(store)
    assert kinds(http, "old") == ["pruned", "study"]
    with store.reading() as tx:
        of_trial = select(measurement.c.number).order_by(measurement.c.number)
        assert list(tx.connection.scalars(of_trial)) == [0] * 4 + [1] + [2] * 4


@on_sqlite
def test_old_deliveries_go(http: TestClient, store: Store, clock: FakeClock) -> None:
    with store.writing() as tx:
        for days in (0, 1):
            row = f"'w', 'm', 'study.complete', '2026-11-2{2 + days} 12:00:00', 0.1"
            columns = "webhook_id, message_id, type, attempted_at, duration_seconds"
            insert = f"INSERT INTO webhook_delivery ({columns}) VALUES ({row})".replace(":", "\\:")
            tx.connection.execute(text(insert))
    clock.advance(AGE.total_seconds() + 3600)
    assert prune_history(store, AGE, is_dry_run=False).n_deliveries == 1
    assert prune_history(store, AGE, is_dry_run=False).n_deliveries == 0
