"""Whether the service can work (GET /readyz)."""

from service.errors import Unavailable
from service.store.sql.migrate import is_current
from service.store.store import Store


def check_ready(store: Store) -> None:
    """Return if the database answers and has the schema that this service needs.

    Raises:
        Unavailable: The database does not answer, or its schema is not ours.
    """
    with store.reading() as tx:
        if not is_current(tx.connection):
            raise Unavailable("the database has another schema; restart the service to migrate it")
