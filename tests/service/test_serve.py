"""The process of `spezia serve`."""

import socket
from pathlib import Path
from typing import Any

import pytest

from service import serve as serving
from service.settings import Settings


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
