"""What a gate remembers of keys."""

import pytest

from service.gate import MAX_REMEMBERED, OPEN_SECONDS, REMEMBERED_SECONDS, Gate
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.revoke_key import revoke_key
from service.store.store import Store
from tests.service.keyed import id_of


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
