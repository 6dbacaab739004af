"""Keys of launched workers, from their start to their end."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from service.errors import Unauthorized
from service.lifecycle.keys.check_key import check_key, has_keys
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.list_keys import list_keys
from service.lifecycle.keys.revoke_key import revoke_key
from service.lifecycle.leases.reap import reap
from service.lifecycle.workers.launched_workers import (
    LaunchedWorker,
    database_identity,
    launch_worker,
    list_launched,
    retire_left_behind,
    retire_worker,
)
from service.store import workers
from service.store.sql.tables import api_key
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.keyed import id_of

ONE, OTHER = "1" * 32, "2" * 32


def n_stored(store: Store) -> int:
    with store.reading() as tx:
        return tx.connection.execute(select(func.count()).select_from(api_key)).scalar_one()


def is_good(store: Store, key: str) -> bool:
    try:
        check_key(store, key)
    except Unauthorized:
        return False
    return True


def test_a_launched_worker_has_a_key_of_its_own_that_people_need_not_know(store: Store) -> None:
    keys = [launch_worker(store, worker_id, "here") for worker_id in (ONE, OTHER)]
    assert [check_key(store, key).scopes for key in keys] == [{"worker"}] * 2
    assert [check_key(store, key).name for key in keys] == ["worker:11111111", "worker:22222222"]
    assert not has_keys(store)
    assert list_keys(store) == []


def test_the_key_of_a_worker_ends_with_it_and_no_other(store: Store) -> None:
    one, other = (launch_worker(store, worker_id, "here") for worker_id in (ONE, OTHER))
    for _ in range(2):
        retire_worker(store, ONE)
        assert (is_good(store, one), is_good(store, other)) == (False, True)
    assert n_stored(store) == 1


def test_a_launcher_that_starts_again_retires_what_it_left_behind_and_nothing_else(store: Store) -> None:
    alice = create_key(store, "alice", [])
    left, elsewhere = launch_worker(store, ONE, "here"), launch_worker(store, OTHER, "there")
    retire_left_behind(store, "here")
    assert [is_good(store, key) for key in (alice, left, elsewhere)] == [True, False, True]


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_key_whose_worker_is_forgotten_goes_with_it(store: Store, clock: FakeClock, seconds: int) -> None:
    alice, key = create_key(store, "alice", []), launch_worker(store, ONE, "a host that is no more")
    reap(store)
    clock.advance((workers.KEPT + timedelta(seconds=seconds)).total_seconds())
    for _ in range(2):  # the first one after an outage forgets nobody
        reap(store)
    assert (is_good(store, alice), is_good(store, key)) == (True, seconds < 0)


def test_a_launcher_knows_its_workers_as_long_as_they_are_let_in(store: Store, clock: FakeClock) -> None:
    one, _ = launch_worker(store, ONE, "here"), launch_worker(store, OTHER, "there")
    clock.advance(5)
    assert list_launched(store, "here") == [LaunchedWorker(worker_id=ONE, is_busy=False, silent_seconds=5.0)]
    revoke_key(store, id_of(one))
    assert list_launched(store, "here") == []


def test_a_database_keeps_its_identity(store: Store) -> None:
    assert len(database_identity(store)) == 32
    assert database_identity(store) == database_identity(store)
