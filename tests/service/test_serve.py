"""The process of `spezia serve`."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from service import serve as serving
from service.settings import Settings
from spezia.common.home_lock import find


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_answers_do_not_wait_for_an_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 44 ms for GET /healthz instead of 1: Nagle's algorithm, with the receiver's delayed acknowledgement
    accepted = []

    def run(_server: Any, sockets: list[socket.socket]) -> None:
        [listener] = sockets
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(serving._Server, "run", run)
    serving.serve(Settings(home=tmp_path, n_workers=0, port=0))
    assert accepted == [1]


def test_what_was_imported_is_never_searched_for_garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Server, "run", lambda *_args, **_kwargs: frozen.append(gc.get_freeze_count()))
    frozen: list[int] = []
    serving.serve(Settings(home=tmp_path, n_workers=0, port=0))
    assert frozen[0] > 100_000


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

    monkeypatch.setattr(serving._Server, "run", run)
    serving.serve(Settings(home=tmp_path, n_workers=0, host=host, port=0))
    assert reached == [called]
