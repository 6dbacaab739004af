"""Whether a database is sound, and the files that it names are there."""

from collections.abc import Iterator

from service.errors import DatabaseDamaged
from service.files.files import Files
from service.lifecycle.database.copy_database import missing_in_words
from service.lifecycle.database.kept_files import is_whole, kept_files
from service.store.sql.connections import n_services, what_lacks
from service.store.sql.migrate import NewerDatabase, is_known, newest, revision_of
from service.store.sql.sqlite import faults
from service.store.store import Store
from spezia.common.findings import Finding, well, wrong

_REMEDY = "put them back from a backup, or set SPEZIA_FILES_DIR or SPEZIA_FILES_URL"


def check_database(store: Store, files: Files, shown: str, connections: int) -> Iterator[Finding]:
    """Yield what is well and what is wrong with a database and its files; nothing is changed.

    Args:
        shown: The database, as it is named to people.
        connections: How many connections a service may open.

    Raises:
        Unavailable: The database does not answer.
    """
    try:
        with store.reading() as tx:
            damage = faults(tx.connection) if tx.connection.dialect.name == "sqlite" else []
            revision = revision_of(tx.connection)
            lacking = what_lacks(tx.connection, None if n_services(tx.connection) else connections)
    except DatabaseDamaged as error:
        message, _, remedy = str(error).partition(": ")
        yield wrong("database", f"{shown}: {message}", remedy)
        return
    if damage:
        yield wrong("database", f"{shown} is damaged: {damage[0]}", DatabaseDamaged.remedy)
        return
    if revision is None:
        yield wrong("schema", f"{shown} has none of ours", "spezia db upgrade makes it")
        return
    if not is_known(revision):
        message, _, remedy = str(NewerDatabase(revision)).partition(": ")
        yield wrong("schema", message, remedy)
        return
    if revision != newest():
        yield wrong(
            "schema", f"{shown} is at migration {revision} of {newest()}", "back it up, then: spezia db upgrade"
        )
        return
    yield well("database", f"{shown} answers and is sound")
    yield well("schema", f"migration {revision}, the newest")
    if lacking is not None:
        message, _, remedy = lacking.partition(": ")
        yield wrong("connections", message, remedy)
    named = kept_files(store)
    if missing := [file for file in named if not is_whole(files, file)]:
        yield wrong("files", missing_in_words(missing, files), _REMEDY)
    else:
        yield well("files", f"all {len(named)} that the database names are whole in {files.place}")
