"""The text of an API key: how it is drawn, and how it is hashed."""

import hashlib
import re
import secrets

KEY_TEXT = re.compile(r"spz_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
"""The form of a key that was drawn."""


def draw_key() -> tuple[str, str]:
    """Draw a key of 256 random bits; return its id and the key."""
    key_id = secrets.token_hex(6)
    return key_id, f"spz_{key_id}_{secrets.token_urlsafe(32)}"


def id_in(key: str) -> str:
    """Return the id of a key that was drawn."""
    return key.split("_")[1]


def hash_key(key: str) -> str:
    """Return the hash of a key, which is all that is stored of it.

    One round of SHA-256: slow hashes such as bcrypt protect secrets that people choose and others can guess. Nobody
    guesses 256 random bits, and the hash is computed for requests.
    """
    return hashlib.sha256(key.encode()).hexdigest()
