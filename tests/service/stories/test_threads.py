"""Nothing that people do takes the threads that workers need, and `/healthz` needs none."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import WEBHOOK_THREADS
from service.routes import threads
from service.store.sql.connections import MAX_CONNECTIONS
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import URL, make_key

SECONDS = 60.0


@pytest.fixture
def http(app: FastAPI) -> Iterator[TestClient]:
    """All calls on one event loop, as in a service."""
    with TestClient(app, base_url=URL, headers={"Authorization": f"Bearer {make_key(app, 'root', 'admin')}"}) as http:
        yield http


@contextmanager
def all_threads_of_people_held(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Call for lists until every thread for people stands still, and another call waits for one."""
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def stand_still(*_: object) -> None:
        arrived.release()
        assert go_on.wait(SECONDS)

    monkeypatch.setattr("service.routes.studies.list_studies", stand_still)
    with ThreadPoolExecutor(threads.N_FOR_PEOPLE + 1) as callers:
        for _ in range(threads.N_FOR_PEOPLE + 1):
            callers.submit(http.get, "/v1/studies")
        try:
            for _ in range(threads.N_FOR_PEOPLE):
                assert arrived.acquire(timeout=SECONDS)
            yield
        finally:
            go_on.set()


def test_a_worker_is_heard_while_every_thread_of_people_is_held(
    http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # every look at a key asks the database, in a thread
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 0.0)
    http.post("/v1/studies", json=spec())
    worker = HandWorker(http)
    worker.prepare()
    held = worker.take()
    with all_threads_of_people_held(http, monkeypatch), ThreadPoolExecutor(1) as caller:

        def in_time(call: Callable[..., Any], *args: Any) -> Any:
            return caller.submit(call, *args).result(SECONDS / 2)

        assert in_time(http.get, "/healthz").json() == {"status": "ok"}
        assert in_time(worker.heartbeat, held) == "continue"
        assert in_time(worker.report, held, 1, 0.5)["directive"] == "continue"
        assert in_time(worker.upload, held, "model.bin", b"weights").status_code == 204
        assert in_time(worker.finish, held).status_code == 200
        assert in_time(worker.take)["kind"] == "trial"
        assert in_time(HandWorker, http).worker_id


def test_a_short_body_of_a_worker_is_handed_to_no_thread(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    http.post("/v1/studies", json=spec())
    worker = HandWorker(http)
    worker.prepare()
    held = worker.take()
    taken: list[str] = []
    run = threads.Threads.run

    async def note(pool: threads.Threads, call: Callable[..., Any], *args: Any) -> Any:
        taken.append(call.__name__)
        return await run(pool, call, *args)

    monkeypatch.setattr(threads.Threads, "run", note)
    worker.report(held, 1, 0.5)
    assert taken == ["report"]
    http.post(
        "/v1/leases/heartbeat",
        content=b'{"leases": [' + b" " * 4096 + b"]}",
        headers={"Content-Type": "application/json"},
    )
    assert taken[1] == "_read", "a long one is"


def test_every_thread_may_have_a_connection_to_the_database() -> None:
    pools = [
        one for one in vars(threads).values() if isinstance(one, threads.Threads) and one is not threads.FOR_UPLOADS
    ]
    assert len(pools) >= 4
    in_the_background = 2 + WEBHOOK_THREADS  # the reaper, and who looks for webhooks and posts them
    assert threads.N_FOR_PEOPLE + sum(one.n for one in pools) + in_the_background <= MAX_CONNECTIONS
