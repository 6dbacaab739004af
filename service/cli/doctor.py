"""What `spezia doctor` looks at on the machine of a service: settings, folders, port, driver, database and keys."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from service.errors import DatabaseDamaged, ServiceError
from service.files.bucket_files import BadBucket
from service.files.open_files import open_files
from service.lifecycle.check_ready import check_ready
from service.lifecycle.keys.list_keys import list_keys
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine, parse_url
from service.store.store import Store
from spezia.common.findings import Finding, noted, well, wrong
from spezia.common.home_lock import find
from spezia.contract.plain_words import plain_errors

LEAST_FREE_BYTES = 2 << 30
"""Free space below which models and checkpoints of a study may not fit."""


def doctor() -> Iterator[Finding]:
    """Yield what is well and what is wrong with the settings of this environment; nothing is made or changed."""
    try:
        settings = Settings()
    except ValidationError as error:
        for loc, message, _ in plain_errors(error.errors()):
            name = f"SPEZIA_{'_'.join(map(str, loc[:1])).upper()}"
            yield wrong("settings", f"{name}: {message}", "set it right, or unset it")
        return
    for folder in dict.fromkeys([settings.home, settings.files, *_given_folders(settings)]):
        yield _look_at_folder(folder)
    if settings.files_url is not None:
        yield _look_at_bucket(settings)
    if find(settings.home) is None:
        yield _look_at_port(settings)
    yield from _look_at_database(settings)


def _given_folders(settings: Settings) -> list[Path]:
    return [folder for folder in (settings.checkpoint_dir, settings.cache_dir) if folder is not None]


def _look_at_folder(folder: Path) -> Finding:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return wrong("folder", f"{folder} cannot be written", f"give yourself the right to write to {there}")
    free = shutil.disk_usage(there).free
    if free < LEAST_FREE_BYTES:
        return wrong("folder", f"{folder} has {free / 2**30:.1f} GiB free", "make room, or choose another folder")
    return well("folder", f"{folder} can be written, {free / 2**30:.0f} GiB free")


def _look_at_bucket(settings: Settings) -> Finding:
    try:
        files = open_files(settings)
    except BadBucket as error:
        message, _, remedy = str(error).partition(": ")
        return wrong("bucket", message, remedy)
    return well("bucket", f"{files.place} can be written, listed and read")


def _look_at_port(settings: Settings) -> Finding:
    name = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host.strip("[]"), settings.port))
        except OSError as error:
            remedy = "another program has it: stop that, or choose one with SPEZIA_PORT"
            return wrong("port", f"{name} cannot be listened on ({error.strerror})", remedy)
    return well("port", f"{name} is free")


def _look_at_database(settings: Settings) -> Iterator[Finding]:
    try:
        url = parse_url(settings.database)
    except ValueError as error:
        yield wrong("database", str(error), "set SPEZIA_DATABASE_URL right, or unset it")
        return
    shown = url.render_as_string()  # without the password
    if url.get_backend_name() == "postgresql" and find_spec("psycopg") is None:
        yield wrong("database", "the driver of PostgreSQL is not installed", "pip install 'spezia[postgres]'")
        return
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        yield noted("database", f"{shown} is not there yet", "the first `spezia serve` makes it")
        return
    try:
        engine = open_engine(settings.database)
        with closing(Store(engine, DatabaseClock())) as store:
            check_ready(store)
            yield well("database", f"{shown} answers and has the schema of this version")
            yield _look_at_keys(settings, store)
    except DatabaseDamaged as error:
        message, _, remedy = str(error).partition(": ")
        yield wrong("database", f"{shown}: {message}", remedy)
    except (ServiceError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        yield wrong("database", f"{shown}: {reason}", "start what serves it, or set SPEZIA_DATABASE_URL right")


def _look_at_keys(settings: Settings, store: Store) -> Finding:
    n_good = sum(key.state == "good" for key in list_keys(store))
    if n_good:
        return well("keys", f"{n_good} good")
    if settings.is_private:
        return well("keys", "none, and only this machine reaches the service")
    return wrong("keys", f"none, and others reach {settings.host}", "spezia key create NAME --scope admin")
