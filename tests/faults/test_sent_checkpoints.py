"""F73: the holder of a checkpoint is killed while it sends it, on a real service."""

import socket
from pathlib import Path

import httpx2
import pytest

from service.settings import Settings
from service.store.sql.engine import open_engine
from tests.faults.invariants import violations
from tests.faults.wire import serving
from tests.service.sending import CONTENT, Scene, left_files

SECONDS = 60.0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_f73_a_holder_that_is_killed_while_it_sends_leaves_nothing(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path / "home", database_url=database_url, n_workers=0)
    with serving(settings) as far, httpx2.Client(base_url=far.url, timeout=SECONDS) as http:
        scene = Scene(http)
        wanted = scene.ask()
        head = (
            f"PUT /v1/leases/{wanted['lease_id']}/checkpoint HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Lease-Token: {wanted['token']}\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", far.port)) as killed:
            killed.sendall(head.encode() + CONTENT[:-1])
            killed.shutdown(socket.SHUT_WR)
            killed.settimeout(SECONDS)
            assert b"HTTP/1.1 204" not in killed.recv(1000)
        assert scene.other.ask() is None  # nothing has come
        assert left_files(far.store, settings.files) == []
        # another thread of the same worker, were it alive, might still send it whole
        assert scene.holder.send_checkpoint(wanted, CONTENT).status_code == 204
        assert scene.other.fetch_checkpoint(scene.receive()).content == CONTENT
        engine = open_engine(settings.database)
        assert violations(engine, settings.files / "artifacts") == []
        engine.dispose()
