"""Sessions of people who sign in to the pages with an API key: how one begins, what it shows and how it ends.

A session is good at every service on the database, for twelve hours, until it is ended, or until its key is revoked or
expires. It has the scopes of its key, and the key itself is kept nowhere.
"""

import hashlib
import hmac
import secrets
from datetime import timedelta

from service.errors import Unauthorized
from service.lifecycle.keys.check_key import check_key, use_key
from service.lifecycle.keys.key_text import hash_key
from service.store import keys, sessions
from service.store.keys import KeyRow
from service.store.store import Store
from service.store.transaction import Transaction

SESSION_TIME = timedelta(hours=12)
"""How long a session lasts."""


def begin_session(store: Store, presented: str) -> str:
    """Begin a session of whoever presents an API key; return its token, of which only the hash is stored.

    Raises:
        Unauthorized: The key is none, unknown, revoked or expired.
    """
    key = check_key(store, presented)
    token = secrets.token_urlsafe(32)
    with store.writing() as tx:
        sessions.forget_expired(tx)
        sessions.add(tx, hash_key(token), key.key_id, tx.now + SESSION_TIME)
    return token


def check_session(store: Store, token: str) -> KeyRow:
    """Return the key of the session that a token shows.

    Raises:
        Unauthorized: There is no such session any more, or its key is not good any more.
    """

    def find(tx: Transaction) -> KeyRow:
        key_id = sessions.find_key_id(tx, hash_key(token))
        key = None if key_id is None else keys.find(tx, key_id)
        if key is None:
            raise Unauthorized("this session has ended; sign in again")
        return key

    return use_key(store, find)


def end_session(store: Store, token: str) -> None:
    """End the session of a token; repeating is harmless."""
    with store.writing() as tx:
        sessions.remove(tx, hash_key(token))


def csrf_token(token: str) -> str:
    """Return what a page of this session sends with each write, which other pages cannot know."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()
