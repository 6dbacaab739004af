"""Make a new API key (`spezia key create`)."""

from collections.abc import Iterable
from datetime import timedelta

from service.lifecycle.keys.key_text import draw_key, hash_key
from service.store import keys
from service.store.store import Store
from spezia.contract.key import Scope


def create_key(store: Store, name: str, scopes: Iterable[Scope], lasts: timedelta | None = None) -> str:
    """Make an API key and return it: this is the only time that anybody sees it.

    Args:
        name: Name of the owner. Keys of one name own the same studies, so a key is rotated by making a second one.
        lasts: How long the key is good for; ``None``: until it is revoked.
    """
    key_id, key = draw_key()
    with store.writing() as tx:
        expires_at = tx.now + lasts if lasts else None
        keys.add(tx, key_id, name, frozenset(scopes), hash_key(key), expires_at=expires_at)
    return key
