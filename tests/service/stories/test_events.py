"""What happens in a study, as server-sent events."""

from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from service.lifecycle.studies.follow_events import SharedLooks, find_followed, follow_events
from service.routes.events import get_events
from tests.service.hand_worker import HandWorker, spec
from tests.service.told_events import Told, told_by, told_in

STUDY = "/v1/studies/feedback"


def read(http: TestClient, **headers: str) -> list[Told]:
    """All events of a study that has ended."""
    answer = http.get(f"{STUDY}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return told_in(answer.text)


async def let_in() -> None:
    """No key was revoked."""


def run_study(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=2))
    worker.prepare()
    worker.run_trial(0.9, 0.8)
    held = worker.take()
    worker.release(held)
    worker.fail(worker.take())


def test_everything_is_told_in_order_and_the_stream_ends_with_the_study(http: TestClient, worker: HandWorker) -> None:
    run_study(http, worker)
    events = read(http)
    told = [
        (kind, *(payload[key] for key in ("number", "state", "step", "value") if payload.get(key) is not None))
        for _, kind, payload in events
    ]
    assert told == [
        ("study", "running"),
        ("trial", 0, "RUNNING"),
        ("value", 0, 1, 0.9),
        ("value", 0, 2, 0.8),
        ("trial", 0, "COMPLETE", 0.8),
        ("trial", 1, "RUNNING"),
        ("trial", 1, "WAITING"),
        ("trial", 1, "RUNNING"),
        ("trial", 1, "FAIL"),
        ("study", "complete"),
    ]
    assert events[-2][2]["failure"]["message"] == "it broke"
    assert events[1][2]["params"].keys() == {"learning_rate"}
    sequences = [sequence for sequence, _, _ in events]
    assert sequences == sorted(set(sequences))


def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(http: TestClient, worker: HandWorker) -> None:
    run_study(http, worker)
    events = read(http)
    for index, (sequence, _, _) in enumerate(events):
        assert read(http, **{"Last-Event-ID": str(sequence)}) == events[index + 1 :]


def test_an_ended_study_is_told_over_many_pages(
    http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.lifecycle.studies.follow_events.PAGE", 3)
    run_study(http, worker)
    assert len(read(http)) == 10


def test_another_study_is_not_heard(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(name="other"))
    http.post("/v1/studies/other/cancel")
    run_study(http, worker)
    assert len(read(http)) == 10


def test_what_is_refused_leaves_no_event(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(n_trials=1))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5)
    assert worker.send_report(held, 1, 0.6).status_code == 409
    assert worker.finish(held, "FAIL").status_code == 409
    http.post(f"{STUDY}/cancel")
    worker.fail(held, "cancelled")
    assert [kind for _, kind, _ in read(http)] == ["study", "trial", "value", "study", "trial", "study"]


def test_an_unknown_study_or_position_is_a_problem_and_no_stream(http: TestClient) -> None:
    assert http.get("/v1/studies/nobody/events").json()["code"] == "study-not-found"
    http.post("/v1/studies", json=spec())
    for position in ("x", "-1", str(2**63)):
        assert http.get(f"{STUDY}/events", headers={"Last-Event-ID": position}).status_code == 422


def test_a_stream_is_live_and_ends_when_the_study_is_deleted(
    http: TestClient, app: Any, worker: HandWorker, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.events.POLL_SECONDS", 0.01)
    http.post("/v1/studies", json=spec())
    store = app.state.parts.store

    async def listen() -> list[str]:
        kinds = []
        with anyio.fail_after(20):
            async for _, kind, _ in told_by(
                await get_events(find_followed(store, "feedback"), app.state.parts, let_in)
            ):
                kinds.append(kind)
                if len(kinds) == 1:
                    await anyio.to_thread.run_sync(http.post, f"{STUDY}/pause")
                else:
                    await anyio.to_thread.run_sync(http.delete, STUDY)
        return kinds

    assert anyio.run(listen) == ["study", "study"]


def test_a_slow_reader_costs_one_page(http: TestClient, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page_size = 10
    monkeypatch.setattr("service.lifecycle.studies.follow_events.PAGE", page_size)
    http.post("/v1/studies", json=spec())
    for _ in range(3 * page_size):
        http.post(f"{STUDY}/pause")
        http.post(f"{STUDY}/resume")
    store = app.state.parts.store
    pages = []
    whole = follow_events

    def counted(*arguments: Any) -> Any:
        page = whole(*arguments)
        pages.append(len(page[0]))
        return page

    monkeypatch.setattr("service.routes.events.follow_events", counted)

    async def listen() -> None:
        stream = await get_events(find_followed(store, "feedback"), app.state.parts, let_in)
        written = aiter(stream.body_iterator)
        for n_seen in range(1, 4):
            assert len(told_in(bytes(await anext(written)).decode())) == page_size
            assert pages == [page_size] * n_seen

    anyio.run(listen)


class Clock:
    """A timer that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_readers_of_one_study_share_their_looks() -> None:
    clock = Clock()
    looks = SharedLooks(clock)
    n_looks = 0
    for tick in range(100):
        clock.now = tick / 10
        for _reader in range(400):
            if looks.is_due("a", 7):
                n_looks += 1
                looks.found("a", 7, is_over=False)
    assert n_looks == 20
    assert looks.is_due("another", 7)


def test_what_one_reader_finds_the_others_look_for_at_once() -> None:
    clock = Clock()
    looks = SharedLooks(clock)
    assert looks.is_due("a", 7)
    looks.found("a", 9, is_over=False)
    assert looks.is_due("a", 7)
    assert not looks.is_due("a", 9)
    looks.found("a", 0, is_over=True)
    assert looks.is_due("a", 9)


def test_a_reader_that_claims_to_be_ahead_keeps_nothing_from_the_others(http: TestClient, app: Any) -> None:
    http.post("/v1/studies", json=spec())
    http.post(f"{STUDY}/pause")
    store = app.state.parts.store
    study_uuid = find_followed(store, "feedback")
    (*_, last), _, told = follow_events(store, study_uuid, 0)
    assert told == last.sequence
    assert follow_events(store, study_uuid, 2**63 - 1) == ([], False, last.sequence)
    looks = SharedLooks(Clock())
    assert looks.is_due(study_uuid, 2**63 - 1)
    looks.found(study_uuid, last.sequence, is_over=False)
    assert looks.is_due(study_uuid, last.sequence - 1)


def test_many_streams_of_a_quiet_study_cost_what_one_does(
    http: TestClient, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.post("/v1/studies", json=spec())
    store = app.state.parts.store
    n_looks = 0
    whole = follow_events

    def counted(*arguments: Any) -> Any:
        nonlocal n_looks
        n_looks += 1
        return whole(*arguments)

    monkeypatch.setattr("service.routes.events.follow_events", counted)
    monkeypatch.setattr("service.routes.events.POLL_SECONDS", 0.01)
    heard: list[list[str]] = []

    async def listen() -> None:
        stream = await get_events(find_followed(store, "feedback"), app.state.parts, let_in)
        heard.append([kind async for _, kind, _ in told_by(stream)])

    async def listen_and_cancel() -> None:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(listen)
                await anyio.sleep(1)
                await anyio.to_thread.run_sync(http.post, f"{STUDY}/cancel")

    anyio.run(listen_and_cancel)
    assert [kinds[-1] for kinds in heard] == ["study"] * 50
    # each reads from the start, and the end
    assert n_looks < 300
