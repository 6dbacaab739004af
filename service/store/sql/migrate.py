"""The migrations of a database to the newest schema, and whether it has that."""

import logging
from functools import cache
from pathlib import Path

from alembic.command import upgrade
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

import migrations
from service.errors import DatabaseDamaged, Unavailable
from service.store.sql.sqlite import SQL_ERROR, WRITING, is_damage

log = logging.getLogger(__name__)

VERSION_TABLE = "spezia_alembic_version"
"""Table in which Alembic keeps the last migration of ours; `alembic_version` is Optuna's own, stamped for stock tools.
"""
ADVISORY_LOCK = 0x5BE21A
"""Lock of PostgreSQL under which two services that start together migrate one after the other."""


class NewerDatabase(ValueError):
    """A newer version of Spezia has written the database."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"a newer version of Spezia has written this database (migration {revision}; this one knows those up to"
            f" {newest()}), and there is no way down: upgrade this one (`pip install --upgrade spezia`), or restore a"
            " backup of before (`spezia db restore`)"
        )


def migrate(engine: Engine) -> str | None:
    """Run the migrations that ``engine``'s database lacks, in one transaction.

    Several processes that do so at once go one after the other: on PostgreSQL by a lock of the database, on SQLite
    since one transaction writes at a time.

    Returns:
        The last migration that the database had before; ``None``: it had none.

    Raises:
        NewerDatabase: The database has migrations that are not known here.
        ValueError: The database holds what we cannot build on; the message says what to do.
        DatabaseDamaged: Its file is damaged, or is none of SQLite.
        Unavailable: The database does not answer.
    """
    try:
        return _migrate(engine)
    except DBAPIError as error:
        if is_damage(error.orig):
            raise DatabaseDamaged(str(error.orig)) from error
        reason = str(error.orig).strip().splitlines()[0]
        if is_refusal(error):
            raise ValueError(
                f"the database does not take the schema of this version ({reason}): give an empty database, and a user"
                " who may make tables in it"
            ) from error
        if not isinstance(error, OperationalError | InterfaceError):
            raise
        raise Unavailable(f"the database does not answer ({reason})") from error


def _migrate(engine: Engine) -> str | None:
    with engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        before = revision_of(connection)
        if before is not None and not is_known(before):
            raise NewerDatabase(before)
        if before != newest():
            config = _config()
            config.attributes["connection"] = connection
            upgrade(config, "head")
    log.info("the database has the schema of migration %s", newest())
    return before


def is_refusal(error: DBAPIError) -> bool:
    """Return whether a database understands a statement and refuses it: the table is there, or the user may not."""
    return isinstance(error, ProgrammingError) or getattr(error.orig, "sqlite_errorcode", None) == SQL_ERROR


def is_current(connection: Connection) -> bool:
    """Return whether the schema of a database is the one that this code was written for."""
    return revision_of(connection) == newest()


def revision_of(connection: Connection) -> str | None:
    """Return the id of the last migration of a database; ``None``: it has none of ours."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def require_current(connection: Connection) -> None:
    """Return if a database has the schema of this version.

    Raises:
        NewerDatabase: A newer version has written it.
        ValueError: It has an older schema, or none.
    """
    revision = revision_of(connection)
    if revision is not None and not is_known(revision):
        raise NewerDatabase(revision)
    if revision != newest():
        raise ValueError(
            f"the database has the schema of migration {revision or 'none'}, and this version needs {newest()}: back it"
            " up with the version that wrote it, then `spezia db upgrade`"
        )


@cache
def newest() -> str | None:
    """Return the id of the newest migration, for which all their files are read."""
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def is_known(revision: str) -> bool:
    """Return whether a migration is one of this version's."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    location = str(Path(migrations.__path__[0]))
    config.set_main_option("script_location", location.replace("%", "%%"))  # as in a file of settings
    return config
