"""The process of `spezia serve`."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from service import http_server
from service.routes.strict_json import MAX_CONTAINERS
from service.serve import serve
from service.settings import Settings
from spezia.common.home_lock import AlreadyRunning, find, hold
from spezia.common.worker_processes import LocalWorkers


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_answers_do_not_wait_for_an_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 44 ms for GET /healthz instead of 1: Nagle's algorithm, with the receiver's delayed acknowledgement
    accepted = []

    def run(_server: Any, sockets: list[socket.socket]) -> None:
        [listener] = sockets
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(http_server._Server, "run", run)
    serve(Settings(home=tmp_path, n_workers=0, port=0))
    assert accepted == [1]


def test_many_objects_of_a_body_do_not_have_the_whole_heap_searched_for_garbage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def run(_server: Any, sockets: list[socket.socket]) -> None:
        assert gc.get_freeze_count() > 100_000
        cached = [[index] for index in range(200_000)]  # as trials are
        gc.callbacks.append(lambda phase, info: searched.append(info["generation"]) if phase == "start" else None)
        for _ in range(5):
            assert len(json.loads("[" + ",".join(["[]"] * MAX_CONTAINERS) + "]")) == MAX_CONTAINERS
        gc.callbacks.pop()
        assert len(cached) == 200_000

    monkeypatch.setattr(http_server._Server, "run", run)
    serve(Settings(home=tmp_path, n_workers=0, port=0))
    assert 2 not in searched


@pytest.mark.parametrize(
    ("host", "called"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]"), ("[::1]", "[::1]")],
)
def test_a_service_listens_where_it_says(
    host: str, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []

    def run(_server: Any, sockets: list[socket.socket]) -> None:
        running = find(tmp_path)
        assert running is not None
        url = urlsplit(running.url)
        [listener] = sockets
        with socket.create_connection((url.hostname, url.port)), listener.accept()[0]:
            reached.append(url.netloc.rpartition(":")[0])

    monkeypatch.setattr(http_server._Server, "run", run)
    serve(Settings(home=tmp_path, n_workers=0, host=host, port=0))
    assert reached == [called]


def test_a_service_that_ends_wakes_the_requests_of_workers_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = []

    def run(server: Any, sockets: list[socket.socket]) -> None:
        work = server.config.app.state.parts.store.work
        mark = work.mark()
        server.handle_exit(signal.SIGTERM, None)
        for thread in threading.enumerate():
            if thread.name == "end":
                thread.join()
        words.append(work.mark() - mark)

    monkeypatch.setattr(http_server._Server, "run", run)
    serve(Settings(home=tmp_path, n_workers=0, port=0))
    assert words == [1]


@pytest.mark.slow
def test_workers_start_before_what_takes_long_is_loaded() -> None:
    slow = "{'alembic', 'fastapi', 'optuna', 'sqlalchemy', 'uvicorn'}"
    program = f"import service.cli.serve, sys; print(*({slow} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-P", "-c", program], text=True).split() == []


def test_workers_start_beside_the_service_and_end_when_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "pid"
    worker = (
        f"import os, sys; from pathlib import Path; Path({str(told)!r}).write_text(str(os.getpid())); sys.stdin.read()"
    )

    def run(*_args: Any, **_options: Any) -> int:
        until = time.monotonic() + 60
        while not (told.exists() and told.read_text()) and time.monotonic() < until:
            time.sleep(0.005)
        raise ValueError("the database cannot be used")

    monkeypatch.setattr(http_server, "run", run)
    with pytest.raises(ValueError, match="cannot be used"):
        serve(Settings(home=tmp_path, n_workers=1, port=0), [sys.executable, "-S", "-c", worker])
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


@pytest.mark.parametrize("taken", ["port", "home"])
def test_no_worker_starts_where_the_port_or_the_home_is_taken(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[LocalWorkers] = []
    monkeypatch.setattr(LocalWorkers, "start", started.append)
    with socket.create_server(("127.0.0.1", 0)) as listener, hold(tmp_path / "taken"):
        port, home = (listener.getsockname()[1], "free") if taken == "port" else (0, "taken")
        with pytest.raises((OSError, AlreadyRunning)):
            serve(Settings(home=tmp_path / home, n_workers=1, port=port))
    assert started == []


def test_a_worker_gets_nothing_that_is_for_the_service_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPEZIA_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.setenv(name, "hunter2")
    for name in ("SPEZIA_LOG_LEVEL", "HF_HOME"):
        monkeypatch.setenv(name, "error")
    told = tmp_path / "environment"
    worker = f"import json, os; from pathlib import Path; Path({str(told)!r}).write_text(json.dumps(dict(os.environ)))"

    def run(*_args: Any, **_options: Any) -> int:
        until = time.monotonic() + 60
        while not (told.exists() and told.read_text()) and time.monotonic() < until:
            time.sleep(0.005)
        return 0

    monkeypatch.setattr(http_server, "run", run)
    settings = Settings(home=tmp_path, n_workers=1, port=0, database_url=None)
    assert serve(settings, [sys.executable, "-S", "-c", worker]) == 0
    environment = json.loads(told.read_text())
    assert "hunter2" not in environment.values()
    assert (environment["SPEZIA_LOG_LEVEL"], environment["HF_HOME"]) == ("error", "error")
