"""Stock Optuna on a database that this process has open."""

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage

from service.store.sql.sqlite import library


@contextmanager
def stock_storage(url: str) -> Iterator[RDBStorage]:
    """Optuna's own storage, through the copy of SQLite that our engine uses (see `service/store/sql/sqlite.py`)."""
    storage = RDBStorage(url, engine_kwargs={"module": library} if url.startswith("sqlite") else {})
    yield storage
    storage.remove_session()
    storage.engine.dispose()
