"""Optuna's own contract for storages, on ours."""

import pickle
from collections.abc import Iterator

import pytest
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from sqlalchemy import Engine

from service.store.optuna.storage import SqlStorage
from service.store.sql.sqlite import WRITING
from service.store.sql.statements import Runner


@pytest.fixture
def storage(engine: Engine) -> Iterator[BaseStorage]:
    with (
        engine.connect().execution_options(**{WRITING: True}) as connection,
        connection.begin() as transaction,
    ):
        yield SqlStorage(Runner(connection))
        transaction.rollback()


class TestSqlStorage(StorageTestCase):
    def test_pickle_storage(self, storage: BaseStorage) -> None:
        with pytest.raises(TypeError, match="open transaction"):
            pickle.dumps(storage)
