"""`spezia key`: makes, lists and revokes API keys in the database itself, so it works before there is a first key."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import RootModel

from service.cli.options import Database, settings_with
from service.errors import ServiceError, Unauthorized
from service.lifecycle.keys.check_key import check_key
from service.lifecycle.keys.create_key import create_key
from service.lifecycle.keys.list_keys import ShownKey, list_keys
from service.lifecycle.keys.revoke_key import revoke_key
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.cli.options import AsJson
from spezia.cli.plain_errors import plain_errors
from spezia.cli.tables import plain_table
from spezia.contract.key import KEY_VARIABLE, Scope
from spezia.terminal.screen import Screen, print_json, say

app = typer.Typer(help="API keys: who may call the service.", no_args_is_help=True, add_completion=False)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(help="Whose it is; keys of one name own the same studies.", show_default=False)
    ],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="write implies read; admin is all, for everybody's studies. Absent: write."),
    ] = None,
    expires_days: Annotated[float | None, typer.Option(min=0, help="Good for so long; absent: until revoked.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Write the key to a file for its owner alone, unless a good one is there."),
    ] = None,
    database: Database = None,
) -> None:
    """Make a key and print it. It is stored nowhere, so this is the only time."""
    if not _NAME.fullmatch(name):
        raise typer.BadParameter("use up to 64 of a-z, 0-9 and . _ -, with a letter or digit first", param_hint="NAME")
    lasts = None if expires_days is None else timedelta(days=expires_days)
    with _store(database) as store:
        if to is not None and _holds_good_key(store, to):
            say(f"{to} holds a good key", is_error=True)
            return
        others = [key.key_id for key in list_keys(store) if key.name == name and key.state == "good"]
        key = create_key(store, name, scope or [Scope.WRITE], lasts)
        if to is not None:
            _write_secretly(to, key)
    if to is None:
        say(key)
        say(f"clients and workers take it from {KEY_VARIABLE}; it is shown this once", is_error=True)
    if others:
        say(f"{name} has other good keys, which own the same studies: {', '.join(others)}", is_error=True)


@app.command(name="list")
def list_all(database: Database = None, as_json: AsJson = False) -> None:
    """List all keys with their owners, scopes and state; the keys themselves are stored nowhere."""
    with _store(database) as store:
        keys = list_keys(store)
    if as_json:
        print_json(RootModel[list[ShownKey]](keys))
        return
    table = plain_table("id", "name", "scopes", "state", "created", "last used", "expires")
    for key in keys:
        instants = (key.created_at, key.last_used_at, key.expires_at)
        table.add_row(key.key_id, key.name, " ".join(key.scopes), key.state, *map(_minute, instants))
    Screen().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `spezia key list` shows it.", show_default=False)],
    database: Database = None,
) -> None:
    """Refuse a key from now on; services hear of it within seconds."""
    with _store(database) as store:
        name = revoke_key(store, key_id)
    if name is None:
        raise typer.BadParameter(f"there is no key {key_id!r}; `spezia key list` lists them", param_hint="ID")
    say(f"{key_id} ({name}): revoked")


@contextmanager
def _store(database: str | None) -> Iterator[Store]:
    with plain_errors(ValueError, ServiceError):
        engine = open_engine(settings_with(database_url=database).database)
        migrate(engine)
        with closing(Store(engine, DatabaseClock())) as store:
            yield store


def _holds_good_key(store: Store, path: Path) -> bool:
    try:
        check_key(store, path.read_text().strip())
    except (FileNotFoundError, Unauthorized):
        return False
    return True


def _write_secretly(path: Path, key: str) -> None:
    written = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{key}\n")
    written.replace(path)


def _minute(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M}"
