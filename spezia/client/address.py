"""Which service a command speaks to."""

import os
from pathlib import Path

from pydantic import BaseModel

from spezia.common.home_lock import DEFAULT_HOME, DEFAULT_HOST, DEFAULT_PORT, find, url_from_here


class _Local(BaseModel):
    """Where the service of this machine keeps its files and listens, by the settings that `spezia serve` reads too."""

    home: Path = DEFAULT_HOME
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT


def address(server: str | None) -> str:
    """URL of the service that a command speaks to.

    That is the given one; else the one that runs on the home folder; else the one that `spezia serve` would start.

    Raises:
        ValidationError: SPEZIA_PORT is no number.
    """
    local = _local()
    return known_address(server) or url_from_here(local.host, local.port)


def known_address(server: str | None) -> str | None:
    """URL of the given service, else of the one that runs on the home folder; ``None`` if none runs there.

    Raises:
        ValidationError: SPEZIA_PORT is no number.
    """
    if server:
        return server
    running = find(_local().home)
    return running.url if running else None


def _local() -> _Local:
    variables = {name: f"SPEZIA_{name.upper()}" for name in _Local.model_fields}
    return _Local.model_validate({name: os.environ[key] for name, key in variables.items() if key in os.environ})
