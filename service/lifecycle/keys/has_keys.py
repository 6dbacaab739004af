"""Whether callers must show a key."""

from service.store import keys
from service.store.store import Store


def has_keys(store: Store) -> bool:
    """Whether there ever was an API key. Revoking the last one does not open the service again."""
    with store.reading() as tx:
        return keys.any_exists(tx)
