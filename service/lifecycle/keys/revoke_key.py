"""Revoke an API key (`spezia key revoke`)."""

from service.store import keys
from service.store.store import Store


def revoke_key(store: Store, key_id: str) -> str | None:
    """Refuse an API key from now on; return its name, or ``None`` if there is no such key. Repeating is harmless."""
    with store.writing() as tx:
        key = keys.find(tx, key_id)
        if key is None:
            return None
        keys.revoke(tx, key_id)
        return key.name
