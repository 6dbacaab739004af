"""Whether callers must show a key; and if one does, whose it is and whether it is good."""

import hmac
import re
from collections.abc import Callable

from service.errors import Unauthorized
from service.lifecycle.keys.key_text import hash_key
from service.store import keys
from service.store.keys import KeyRow as KeyRow  # the gate knows keys by this door
from service.store.store import Store
from service.store.transaction import Transaction
from spezia.contract.key import KEY_PATTERN

_FORM = re.compile(KEY_PATTERN)


def has_keys(store: Store) -> bool:
    """Whether people ever made an API key; revoking the last one does not open the service again."""
    with store.reading() as tx:
        return keys.any_exists(tx)


def check_key(store: Store, presented: str) -> KeyRow:
    """Return the key that was presented, if one was and it is good, and note its use at most once a minute.

    Raises:
        Unauthorized: The key is unknown, revoked or expired; only the holder of the whole key is told which.
    """
    if not presented:
        raise Unauthorized
    form = _FORM.fullmatch(presented)
    if form is None:
        raise Unauthorized("this is not an API key of Spezia (spz_…)")
    key_id = form[1]

    def find(tx: Transaction) -> KeyRow:
        key = keys.find(tx, key_id)
        if key is None or not hmac.compare_digest(key.sha256, hash_key(presented)):
            raise Unauthorized("this API key is unknown here; ask whoever runs the service for one")
        return key

    return use_key(store, find)


def use_key(store: Store, find: Callable[[Transaction], KeyRow]) -> KeyRow:
    """Return the key that ``find`` finds, and note that it is used.

    Raises:
        Unauthorized: As ``find`` raises, or the key was revoked, or has expired.
    """
    with store.reading() as tx:
        key = find(tx)
        _check_good(tx, key)
        is_touched = keys.is_touched(tx, key)
    if not is_touched:
        with store.writing() as tx:
            keys.touch(tx, key.key_id)
    return key


def _check_good(tx: Transaction, key: KeyRow) -> None:
    if key.revoked_at is not None:
        raise Unauthorized(f"API key {key.key_id} was revoked; ask for another (spezia key create)")
    if key.expires_at is not None and key.expires_at <= tx.now:
        raise Unauthorized(f"API key {key.key_id} has expired; ask for another (spezia key create)")
