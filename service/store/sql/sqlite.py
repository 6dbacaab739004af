"""SQLite as this process opens it: one library, one journal mode, one way to begin.

Never open a file that an engine of ours has open with another copy of SQLite in the same process, not even to read:
when one copy closes the file, the kernel drops the other's locks (POSIX), and two writers may meet in one page.
"""

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

try:
    from pysqlite3 import dbapi2 as library  # carries a SQLite of its own; no wheel for Linux on ARM
except ModuleNotFoundError:
    from sqlite3 import dbapi2 as library

log = logging.getLogger(__name__)

WRITING = "spezia_writing"
"""Name of the execution option of connections whose transactions will write."""

SQL_ERROR = 1
"""SQLite's code of statements that cannot be carried out: a table that there is, or is not."""

BUSY_SECONDS = 30.0
"""How long a statement waits for the lock of another connection."""
CONVERSION_SECONDS = 1.0
"""How long a connection waits for others to let go of a file that is not in WAL mode yet."""

CHECKPOINT_PAGES = 500
"""How many pages of 4 KiB the log may hold after a commit before they are copied into the database: measured, 250 to
1,000 cost the same. It is well below the 1,000 at which other programs would copy them, whose SQLite may have the bug.
"""

LOG_BYTES = 16 * 2**20
"""Size to which the log is cut when it begins anew after a long reader kept it from doing so earlier."""


def open_file(url: URL, max_connections: int) -> Engine:
    """Return an engine on the SQLite file of a URL, made with its folder if absent; what it commits is durable."""
    assert url.database is not None
    Path(url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    waits = {"timeout": BUSY_SECONDS}
    engine = create_engine(
        url,
        module=library,
        connect_args=waits,
        pool_size=min(20, max_connections),
        max_overflow=max(0, max_connections - 20),
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def back_up(connection: Connection, path: Path) -> None:
    """Copy the database of a connection, as it is at one moment, to a new file; writers go on meanwhile."""
    driver: Any = connection.connection.driver_connection
    with closing(library.connect(path)) as copied:
        driver.backup(copied)


def make_portable(path: Path) -> None:
    """Let a database that nobody has open consist of one file, which may be read where nothing can be written."""
    with closing(library.connect(path)) as alone:
        alone.execute("PRAGMA journal_mode=DELETE")


def faults(connection: Connection) -> list[str]:
    """Return what SQLite's own checks find wrong with a file; nothing where it is sound."""
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(10)")]
    loose = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
    return [one for one in found if one != "ok"] + [f"a row of {row[0]} refers to none of {row[2]}" for row in loose]


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error of the driver says that the file is malformed, or is no database at all."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (library.SQLITE_CORRUPT, library.SQLITE_NOTADB)


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Return whether a version of SQLite is free of the WAL-reset bug of 3.7.0 to 3.51.2 (sqlite.org/wal.html)."""
    return version >= (3, 51, 3) or (
        version[:2] in ((3, 50), (3, 44)) and version >= ((3, 50, 7) if version[1] == 50 else (3, 44, 6))
    )


def _set_up(dbapi: Any, _record: Any) -> None:
    dbapi.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"journal_size_limit={LOG_BYTES}",
    ):
        dbapi.execute(f"PRAGMA {pragma}")
    if wal_is_safe(library.sqlite_version_info):
        _enter_wal(dbapi)
    else:
        # a journal that stays is cheaper to write than a new one each time, and its end is synced: 0.8 ms against 1.0
        dbapi.execute("PRAGMA journal_mode=PERSIST")


def _enter_wal(dbapi: Any) -> None:
    """The file keeps the mode, so this does something once in its life, and that needs the file for itself."""
    if dbapi.execute("PRAGMA journal_mode").fetchall() == [("wal",)]:
        return
    dbapi.execute(f"PRAGMA busy_timeout={1000 * CONVERSION_SECONDS:.0f}")
    try:
        dbapi.execute("PRAGMA journal_mode=WAL")
    except library.OperationalError as error:
        # as safe, only slower, and the next connection tries again
        log.warning("the database keeps its rollback journal while another process uses the file: %s", error)
    finally:
        dbapi.execute(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS:.0f}")


def _begin(connection: Connection) -> None:
    # a deferred transaction that comes to write after it has read may find that somebody wrote between
    writing = connection.get_execution_options().get(WRITING, False)
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
