"""Statements that the driver runs itself: what SQLAlchemy would do, and nothing else."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, func, insert, select

from service.store.sql.statements import Statement
from service.store.sql.tables import lease
from service.store.store import Store
from service.store.transaction import Transaction
from tests.conftest import START

ADD = Statement(insert(lease))
ALL = Statement(select(lease).order_by(lease.c.number))
COUNT = Statement(select(func.count().label("n")).select_from(lease).where(lease.c.kind == bindparam("of_kind")))


def held(number: int, lease_id: str = "") -> dict[str, object]:
    return {
        "lease_id": lease_id or f"lease-{number}",
        "token": f"token-{number}",
        "study_uuid": "study",
        "kind": "trial",
        "number": number,
        "attempt": 1,
        "worker_id": "worker",
        "expires_at": START + timedelta(seconds=number),
        "is_cancelled": number % 2 == 1,
        "reserved_seconds": None if number else 0.1,
    }


def write_all(store: Store, rows: Iterable[Any]) -> None:
    with store.writing() as tx:
        for row in rows:
            tx.write(ADD.rows(**row))


def n_leases(tx: Transaction) -> int:
    return int(tx.connection.execute(select(func.count()).select_from(lease)).scalar_one())


def test_rows_are_read_as_sqlalchemy_reads_them(store: Store) -> None:
    write_all(store, [held(number) for number in range(3)])
    with store.reading() as tx:
        ours = tx.ask(ALL.rows())
        theirs = tx.connection.execute(select(lease).order_by(lease.c.number)).all()
    assert [row._asdict() for row in ours] == [row._asdict() for row in theirs] == [held(number) for number in range(3)]


def test_what_is_written_is_there_for_whoever_looks_next(store: Store) -> None:
    with store.writing() as tx:
        tx.write(ADD.rows(**held(0)))
        assert n_leases(tx) == 1
        tx.write(ADD.rows(**held(1)))
        count, rows = tx.ask(COUNT.first(lambda row: row.n, of_kind="trial"), ALL.rows())
        assert (count, len(rows)) == (2, 2)


def test_calls_run_in_the_order_in_which_they_are_asked(store: Store) -> None:
    with store.writing() as tx:
        before, _, after = tx.ask(COUNT.rows(of_kind="trial"), ADD.rows(**held(0)), COUNT.rows(of_kind="trial"))
    assert (before[0].n, after[0].n) == (0, 1)


@pytest.mark.parametrize("is_last", [True, False])
def test_a_write_that_fails_takes_the_whole_transaction_with_it(store: Store, engine: Engine, is_last: bool) -> None:
    twice = held(1, lease_id="lease-0")
    writes = [held(0), twice] if is_last else [held(0), twice, held(2)]
    with pytest.raises(engine.dialect.loaded_dbapi.IntegrityError):
        write_all(store, writes)
    with store.reading() as tx:
        assert n_leases(tx) == 0
    write_all(store, [held(3)])
    with store.reading() as tx:
        assert n_leases(tx) == 1, "the connection is good again"


def test_what_a_block_wrote_before_it_raised_is_not_there(store: Store) -> None:
    with pytest.raises(TypeError):
        write_all(store, [held(0), None])
    with store.reading() as tx:
        assert n_leases(tx) == 0
