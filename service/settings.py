"""How one service process is set up: read once, from the environment (``SPEZIA_…``) or the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.loopback import is_loopback
from spezia.common.home_lock import DEFAULT_HOME, DEFAULT_HOST, DEFAULT_PORT
from spezia.common.logs import LogFormat, LogLevel


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SPEZIA_", frozen=True, extra="forbid")

    home: Path = DEFAULT_HOME
    """Folder of the embedded database, of models and of the lock that names a live service."""
    database_url: Annotated[str | None, Field(repr=False)] = None
    """SQLAlchemy URL, which may hold a password; absent: SQLite in ``home``."""
    files_dir: Path | None = None
    """Folder of uploaded models and data sets; absent: ``home``. Services that share a database share it too."""
    data_roots: tuple[Path, ...] = ()
    """Folders under which local workers may read data and models."""
    allow_scripts: tuple[Path, ...] = ()
    """Folders of Python files that local workers may run for studies of the task ``script``."""
    host: str = DEFAULT_HOST
    """Address to listen on; other than loopback only with keys."""
    port: int = DEFAULT_PORT
    cache_dir: Path | None = None
    """Folder of what local workers can compute again; absent: in ``home``. One folder may serve several homes."""
    cache_bytes: int | None = None
    """What that folder may hold; absent: 20 GiB."""
    n_workers: int | None = None
    """Local workers to start; absent: one per GPU, else one per core (at most 4)."""
    webhook_networks: tuple[IPvAnyNetwork, ...] = ()
    """Private networks that webhooks may post to; absent: the public internet alone."""
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Largest data set that may be uploaded."""
    max_artifact_bytes: Annotated[int, Field(ge=1)] = 32 << 30
    """Largest file of a model that a worker may upload."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 1200
    """Of one key, and of one address that shows no good key."""
    worker_requests_per_minute: Annotated[int, Field(ge=1)] = 60_000
    """Of one key in the protocol of workers; many may share it."""
    log_format: LogFormat = "auto"
    """Local workers heed it too, by the environment."""
    log_level: LogLevel = "info"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'spezia.db'}"

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches the service."""
        return is_loopback(self.host)

    @property
    def datasets(self) -> Path:
        return self._files / "datasets"

    @property
    def artifacts(self) -> Path:
        return self._files / "artifacts"

    @property
    def _files(self) -> Path:
        return (self.files_dir or self.home).absolute()
