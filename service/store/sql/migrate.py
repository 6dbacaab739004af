"""The migrations of a database to the newest schema, and whether it has that."""

import logging
from functools import cache
from pathlib import Path

from alembic.command import upgrade
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations
from service.store.sql.sqlite import WRITING

log = logging.getLogger(__name__)

VERSION_TABLE = "spezia_alembic_version"
"""Table in which Alembic keeps the last migration of ours; `alembic_version` is Optuna's own, stamped for stock tools.
"""
ADVISORY_LOCK = 0x5BE21A
"""Lock of PostgreSQL under which two services that start together migrate one after the other."""


def migrate(engine: Engine) -> None:
    """Run the migrations that ``engine``'s database lacks, in one transaction.

    Raises:
        ValueError: The database holds what we cannot build on; the message says what to do.
    """
    with engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        if not is_current(connection):
            config = _config()
            config.attributes["connection"] = connection
            upgrade(config, "head")
    log.info("the database has the schema of migration %s", _newest())


def is_current(connection: Connection) -> bool:
    """Return whether the schema of a database is the one that this code was written for."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision() == _newest()


@cache
def _newest() -> str | None:
    """Id of the newest migration, for which all their files are read."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    location = str(Path(migrations.__path__[0]))
    config.set_main_option("script_location", location.replace("%", "%%"))  # as in a file of settings
    return config
