"""How one service process is set up: read once, from the environment (``SPEZIA_…``) or the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SPEZIA_", frozen=True, extra="forbid")

    home: Path = Path(".spezia")
    """Folder of the embedded database, of models and of the lock that names a live service."""
    database_url: str | None = None
    """SQLAlchemy URL; absent: SQLite in ``home``."""
    data_roots: tuple[Path, ...] = ()
    """Folders under which local workers may read data and models."""
    allow_scripts: tuple[Path, ...] = ()
    """Folders of Python files that local workers may run for studies of the task ``script``."""
    host: str = "127.0.0.1"
    """Loopback only, until there are keys."""
    port: int = 8765
    cache_dir: Path | None = None
    """Folder of what local workers can compute again; absent: in ``home``. One folder may serve several homes."""
    cache_bytes: int | None = None
    """What that folder may hold; absent: 20 GiB."""
    n_workers: int | None = None
    """Local workers to start; absent: one per GPU, else one per core (at most 4)."""

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home.absolute() / 'spezia.db'}"

    max_dataset_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Largest data set that may be uploaded."""

    @property
    def datasets(self) -> Path:
        return self.home.absolute() / "datasets"

    @property
    def artifacts(self) -> Path:
        return self.home.absolute() / "artifacts"
