"""List the API keys that people made, as far as the service knows them (`spezia key list`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.store import keys
from service.store.store import Store

State = Literal["good", "expired", "revoked"]


@dataclass(frozen=True, kw_only=True)
class ShownKey:
    """What is shown of an API key; the key itself is not known any more."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    """When the key was last used, to the minute."""
    expires_at: datetime | None
    state: State


def list_keys(store: Store) -> list[ShownKey]:
    """Return the API keys that people made, the oldest first; those of launched workers come and go with them."""
    with store.reading() as tx:
        return [
            ShownKey(
                key_id=key.key_id,
                name=key.name,
                scopes=sorted(key.scopes),
                created_at=key.created_at,
                last_used_at=key.last_used_at,
                expires_at=key.expires_at,
                state=_state(key, tx.now),
            )
            for key in keys.every(tx)
        ]


def _state(key: keys.KeyRow, now: datetime) -> State:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"
