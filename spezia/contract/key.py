"""API keys: a key is `spz_<id>_<secret>`, and the service stores the id and a hash of the whole."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do: see studies, change them too, carry out trials, or all of it for everybody's studies."""

    READ = "read"
    WRITE = "write"
    WORKER = "worker"
    ADMIN = "admin"


KEY_PATTERN = r"spz_([0-9a-f]{12})_[A-Za-z0-9_-]{43}"
"""Pattern of a key; its prefix lets scanners of published code find a key that was published by accident."""

KEY_VARIABLE = "SPEZIA_API_KEY"
"""Environment variable from which clients and workers read their key, because other users can see a command line."""
