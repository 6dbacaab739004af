"""Keys: what is stored of them, which are good, and when they are needed."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from service.app import create_app
from service.errors import Unauthorized
from service.gate import MAX_REMEMBERED, OPEN_SECONDS, REMEMBERED_SECONDS, Gate
from service.lifecycle.keys.check_key import check_key
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.list_keys import list_keys
from service.lifecycle.keys.revoke_key import revoke_key
from service.settings import Settings
from service.store.sql.tables import api_key
from service.store.store import Store
from spezia.contract.key import KEY_PATTERN
from tests.conftest import FakeClock
from tests.service.keyed import client, make_key

STUDIES = "/v1/studies"


@pytest.fixture
def app(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """On SQLite, and with a gate that asks the database each time."""
    monkeypatch.setattr("service.gate.REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)
    app = create_app(Settings(home=tmp_path / "home", n_workers=0), clock)
    yield app
    app.state.parts.store.close()


def id_of(key: str) -> str:
    return key.split("_")[1]


def test_a_key_is_random_has_a_prefix_and_only_its_hash_is_stored(store: Store) -> None:
    one, other = (create_key(store, "alice", []) for _ in range(2))
    assert re.fullmatch(KEY_PATTERN, one)
    assert one.split("_", 2)[1:] != other.split("_", 2)[1:]
    with store.reading() as tx:
        stored = [str(row) for row in tx.connection.execute(select(api_key))]
    assert len(stored) == 2
    for key in (one, other):
        assert not any(key.split("_", 2)[2] in row for row in stored)


def test_a_good_key_opens_and_its_use_is_noted_to_the_minute(store: Store, clock: FakeClock) -> None:
    key = create_key(store, "alice", [])
    assert list_keys(store)[0].last_used_at is None
    first = clock.instant
    for seconds, noted in [(0.0, 0.0), (59.0, 0.0), (1.0, 60.0)]:
        clock.advance(seconds)
        assert check_key(store, key).name == "alice"
        assert list_keys(store)[0].last_used_at == first + timedelta(seconds=noted)


def test_a_key_that_is_none_opens_nothing(store: Store) -> None:
    key = create_key(store, "alice", [])
    forged = f"spz_{id_of(key)}_{'x' * 43}"
    for wrong in ("", "x", key[:-1], key + "x", key.upper(), key.replace("spz", "spy"), forged, f"{key}\n", "é" * 60):
        with pytest.raises(Unauthorized):
            check_key(store, wrong)


def test_an_expired_key_opens_nothing_from_its_very_instant(store: Store, clock: FakeClock) -> None:
    key = create_key(store, "alice", [], timedelta(days=1))
    clock.advance(24 * 3600 - 1)
    assert check_key(store, key)
    assert list_keys(store)[0].state == "good"
    clock.advance(1)
    with pytest.raises(Unauthorized, match="expired"):
        check_key(store, key)
    assert list_keys(store)[0].state == "expired"


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(store: Store, clock: FakeClock) -> None:
    key = create_key(store, "alice", [])
    assert revoke_key(store, "0" * 12) is None
    assert revoke_key(store, id_of(key)) == revoke_key(store, id_of(key)) == "alice"
    with pytest.raises(Unauthorized, match="revoked"):
        check_key(store, key)
    forged = f"spz_{id_of(key)}_{'x' * 43}"
    with pytest.raises(Unauthorized, match="unknown"):  # who has not the key does not hear what became of it
        check_key(store, forged)
    assert [one.state for one in list_keys(store)] == ["revoked"]


def test_a_service_is_open_until_the_first_key_and_never_again(app: FastAPI) -> None:
    assert client(app).get(STUDIES).status_code == 200
    assert client(app, "nonsense").get(STUDIES).status_code == 200
    key = make_key(app, "alice", "admin")
    refused = client(app).get(STUDIES)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert "SPEZIA_API_KEY" in refused.json()["detail"]
    assert client(app, key).get(STUDIES).status_code == 200
    revoke_key(app.state.parts.store, id_of(key))
    for visitor in (client(app), client(app, key)):
        assert visitor.get(STUDIES).status_code == 401


def test_a_service_that_others_can_reach_is_closed_without_any_key(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, host="0.0.0.0"))
    answer = client(app).get(STUDIES, headers={"Host": "spezia.example.org"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    app.state.parts.store.close()


@pytest.mark.parametrize("header", ["Basic {}", "{}", "Bearer", "Bearer  ", "Token {}"])
def test_a_key_comes_as_bearer_and_no_other_way(app: FastAPI, header: str) -> None:
    key = make_key(app, "alice", "admin")
    visitor = client(app)
    assert visitor.get(STUDIES, headers={"Authorization": header.format(key)}).status_code == 401
    assert visitor.get(STUDIES, params={"api_key": key, "access_token": key}).status_code == 401
    assert visitor.get(STUDIES, headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_a_stranger_is_refused_before_the_body_is_read(app: FastAPI) -> None:
    make_key(app, "alice", "admin")
    assert client(app).post(STUDIES, content=b"{").status_code == 401


def test_the_keys_of_this_process_are_for_workers_only(app: FastAPI) -> None:
    make_key(app, "alice", "admin")
    local = client(app, app.state.gate.local_key)
    assert local.post("/v1/leases/heartbeat", json={"leases": []}).status_code != 401
    assert local.get(STUDIES).status_code == 403
    assert app.state.gate.local_key not in repr(app.state.parts) + repr(app.state.settings)


def gate_of(store: Store, now: list[float]) -> Gate:
    return Gate(store, is_private=True, requests_per_minute=10, worker_requests_per_minute=10, timer=lambda: now[0])


def test_what_was_looked_up_is_remembered_for_a_while(store: Store) -> None:
    now = [0.0]
    gate = gate_of(store, now)
    gate.look_up("")
    key = create_key(store, "alice", [])
    now[0] = OPEN_SECONDS - 0.01
    assert gate.remembered("") is not None  # still open
    now[0] = OPEN_SECONDS
    assert gate.remembered("") is None
    assert gate.remembered(key) is None
    assert gate.look_up(key) == gate.remembered(key)
    revoke_key(store, id_of(key))
    now[0] += REMEMBERED_SECONDS - 0.01
    assert gate.remembered(key) is not None
    now[0] += 0.01
    assert gate.remembered(key) is None


def test_what_is_remembered_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.MAX_REMEMBERED", 2)
    assert MAX_REMEMBERED == 1024
    gate = gate_of(store, [0.0])
    keys = [create_key(store, "alice", []) for _ in range(3)]
    for key in keys:
        gate.look_up(key)
    assert [gate.remembered(key) is not None for key in keys] == [False, False, True]
