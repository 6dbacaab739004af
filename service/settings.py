"""How one service process is set up: read once, from the environment (``SPEZIA_…``) or the command line."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, IPvAnyNetwork, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.loopback import is_loopback
from spezia.common.home_lock import DEFAULT_HOME, DEFAULT_HOST, DEFAULT_PORT
from spezia.common.logs import LogFormat, LogLevel

MIN_CONNECTIONS = 5
"""Connections to the database without which a process would not do."""


def sqlite_url(path: Path) -> str:
    """Return the URL of a database in a file of SQLite."""
    # quoted: a ? in the name of a folder would begin the query of the URL
    return f"sqlite:///{quote(str(path.absolute()))}"


class Settings(BaseSettings):
    """Settings of one service process; each can be given as the environment variable `SPEZIA_` and its name."""

    model_config = SettingsConfigDict(env_prefix="SPEZIA_", frozen=True, extra="forbid")

    home: Path = DEFAULT_HOME
    """Folder of the embedded database, of models and of the lock that names a live service."""
    database_url: Annotated[str | None, Field(repr=False)] = None
    """SQLAlchemy URL of the database, which may hold a password; absent: SQLite in ``home``."""
    database_connections: Annotated[int, Field(ge=MIN_CONNECTIONS)] = 60
    """How many connections to the database the service may open, shared out evenly among its ``processes``; each
    process opens another one, on which it hears of the others."""
    database_password_file: Path | None = None
    """File of the password that ``database_url`` leaves out, as Docker and Kubernetes hand secrets over."""
    files_dir: Path | None = None
    """Folder of uploaded models and data sets; absent: ``home``. Services that share a database share it too."""
    files_url: Annotated[str | None, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$")] = (
        None
    )
    """Bucket and prefix of uploaded models and data sets, such as s3://models/spezia; ``files_dir`` is then where they
    are written before they are sent."""
    data_roots: tuple[Path, ...] = ()
    """Folders under which local workers may read data and models."""
    allow_scripts: tuple[Path, ...] = ()
    """Folders of Python files that local workers may run for studies of the task ``script``."""
    host: str = DEFAULT_HOST
    """Address to listen on; an address other than loopback needs API keys."""
    port: int = DEFAULT_PORT
    """Port to listen on; 0 chooses a free one."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """How many processes answer at this port; more than one needs PostgreSQL."""
    public_url: Annotated[str | None, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+/?$")] = None
    """Address by which browsers reach the service through a proxy, such as https://spezia.example.org; where it is
    https, the cookie of a session is sent over TLS alone."""
    checkpoint_dir: Path | None = None
    """Folder of the checkpoints of trials that are interrupted or paused; absent: in ``home``. Workers that share one
    resume each other's trials."""
    checkpoint_bytes: Annotated[int | None, Field(ge=0)] = None
    """Size that the folder ``checkpoint_dir`` may grow to; absent: half of the disk that is free without it."""
    cache_dir: Path | None = None
    """Folder of what local workers can compute again; absent: in ``home``. One folder may serve several homes."""
    cache_bytes: int | None = None
    """Size that the folder ``cache_dir`` may grow to; absent: 20 GiB."""
    launcher: Literal["local", "ray"] = "local"
    """What starts workers: this process, on this machine, or a Ray cluster."""
    n_workers: Annotated[int | None, Field(ge=0)] = None
    """How many local workers to start; absent: one per GPU, else one per core (at most 4). On a cluster, how many there
    may be at once."""
    worker_url: Annotated[str | None, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+/?$")] = None
    """Address by which workers on a cluster reach the service; absent: where it listens."""
    ray_address: str | None = None
    """Host and port of a Ray cluster's head, such as 10.0.0.5:6379."""
    ray_num_gpus: Annotated[float, Field(ge=0, le=1)] = 1.0
    """GPUs that each worker on Ray asks for; less than one needs ``ray_gpu_memory``."""
    ray_num_cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPUs that each worker on Ray asks for."""
    ray_resources: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Custom resources that each worker on Ray asks for, such as {"A100": 1}."""
    ray_gpu_memory: Annotated[float | None, Field(gt=0, le=1)] = None
    """Share of a GPU's memory that each worker on Ray may use, at most ``ray_num_gpus``; absent: all of it."""
    ray_runtime_env: Annotated[dict[str, Any], Field(repr=False)] = {}
    """Ray's runtime environment of the workers, such as {"image_uri": "registry/spezia:1"}."""
    webhook_networks: tuple[IPvAnyNetwork, ...] = ()
    """Private networks that webhooks may post to; absent: only the public internet."""
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 1 << 30
    """Size of the largest data set that may be uploaded."""
    max_model_bytes: Annotated[int, Field(ge=1)] = 32 << 30
    """Size of the largest pretrained model that may be uploaded, its files together."""
    max_artifact_bytes: Annotated[int, Field(ge=1)] = 32 << 30
    """Size of the largest file of a model that a worker may upload."""
    sent_checkpoint_bytes: Annotated[int, Field(ge=0)] = 16 << 30
    """Size that checkpoints may take together which workers without a common folder send each other; 0: none is
    sent."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 1200
    """How many requests a minute one key may send, or one address that shows no good key."""
    worker_requests_per_minute: Annotated[int, Field(ge=1)] = 60_000
    """How many requests a minute one key may send in the protocol of workers; many workers may share a key."""
    log_format: LogFormat = "auto"
    """Form of log lines; local workers use it too."""
    log_level: LogLevel = "info"
    """Least level of the log lines that are written; local workers use it too."""

    @field_validator("database_password_file")
    @classmethod
    def _is_of_the_database(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None:
            _with_password(info.data.get("database_url") or "", file)
        return file

    @field_validator("processes")
    @classmethod
    def _is_possible(cls, processes: int, info: ValidationInfo) -> int:
        if processes == 1:
            return processes
        if not (info.data.get("database_url") or "").startswith("postgresql"):
            raise ValueError(
                "several processes need PostgreSQL, named by SPEZIA_DATABASE_URL: SQLite lets one write at a time, so"
                " that they would only wait for one another"
            )
        wanted = MIN_CONNECTIONS * processes
        if info.data.get("database_connections", wanted) < wanted:
            raise ValueError(
                f"{processes} processes need at least {wanted} connections to the database; raise"
                " SPEZIA_DATABASE_CONNECTIONS, or start fewer"
            )
        return processes

    @property
    def connections_of_each(self) -> int:
        """How many connections to the database each process may open."""
        return self.database_connections // self.processes

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database that is used, with its password."""
        if self.database_url is None:
            return sqlite_url(self.home / "spezia.db")
        if self.database_password_file is None:
            return self.database_url
        return _with_password(self.database_url, self.database_password_file)

    @property
    def public_origin(self) -> str | None:
        """Scheme, host and port by which browsers reach the service through a proxy, as they name them."""
        return None if self.public_url is None else self.public_url.rstrip("/").lower()

    @property
    def is_behind_tls(self) -> bool:
        """Whether browsers reach the service over TLS."""
        return self.public_origin is not None and self.public_origin.startswith("https:")

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def files(self) -> Path:
        """Folder of the models that trials have made, and of what is uploaded; on its way to ``files_url``, if any."""
        return (self.files_dir or self.home).absolute()


def _with_password(url: str, file: Path) -> str:
    parts = urlsplit(url)
    if parts.username is None or parts.password is not None:
        raise ValueError("it needs a database URL that names a user and no password")
    try:
        password = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    user, _, address = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{address}").geturl()
