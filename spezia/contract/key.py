"""API keys: `spz_<id>_<secret>`, of which the service stores the id and a hash."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may do: see studies, change them too, carry out trials, or all of it for everybody's studies."""

    READ = "read"
    WRITE = "write"
    WORKER = "worker"
    ADMIN = "admin"


KEY_PATTERN = r"spz_([0-9a-f]{12})_[A-Za-z0-9_-]{43}"
"""The prefix lets scanners of published code find a key that has slipped out."""

KEY_VARIABLE = "SPEZIA_API_KEY"
"""Environment variable from which clients and workers take their key: a command line is for all to see."""
