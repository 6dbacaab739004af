"""What is stored of a key, and which keys are good."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from service.errors import Unauthorized
from service.lifecycle.keys.check_key import check_key
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.list_keys import list_keys
from service.lifecycle.keys.revoke_key import revoke_key
from service.store.sql.tables import api_key
from service.store.store import Store
from spezia.contract.key import KEY_PATTERN
from tests.conftest import FakeClock
from tests.service.keyed import id_of


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
