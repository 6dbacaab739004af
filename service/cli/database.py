"""`spezia db`: looks after the database of a service and the files that it names."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from errno import ENOENT
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from service.cli.options import Database, settings_with
from service.errors import ServiceError
from service.files.open_files import files_at, open_files
from service.lifecycle.database.back_up import back_up, restore
from service.lifecycle.database.check_database import check_database
from service.lifecycle.database.copy_database import copy_database
from service.lifecycle.database.prune_history import prune_history
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine, parse_url
from service.store.sql.migrate import migrate, newest, require_current
from service.store.store import Store
from spezia.cli.doctor import show_findings
from spezia.cli.options import AsJson
from spezia.cli.plain_errors import plain_errors
from spezia.common.findings import Findings
from spezia.common.home_lock import AlreadyRunning, hold
from spezia.terminal.screen import Screen, print_json, say

app = typer.Typer(
    help="The database: upgrade, check, back up, restore, copy, prune.", no_args_is_help=True, add_completion=False
)

_AGE = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

Force = Annotated[bool, typer.Option("--force", help="Also over a database that is not empty: its rows are dropped.")]


class Upgraded(BaseModel):
    """What an upgrade has done."""

    before: str | None
    """Last migration that the database had; null: it had none."""
    now: str
    """Last migration that it has."""


class Restored(BaseModel):
    """What a restore has brought back."""

    n_rows: int
    n_files: int


@app.command()
def upgrade(database: Database = None, as_json: AsJson = False) -> None:
    """Bring the database to the schema of this version, as a service does when it starts; make it if absent.

    Back up first: there is no way down.
    """
    with _told():
        settings = settings_with(database_url=database)
        engine = open_engine(settings.database)
        with closing(Store(engine, DatabaseClock())):
            upgraded = Upgraded(before=migrate(engine), now=newest() or "")
    if as_json:
        print_json(upgraded)
    elif upgraded.before == upgraded.now:
        say(f"{_shown(settings)} has the newest schema already: migration {upgraded.now}")
    else:
        say(f"{_shown(settings)}: migration {upgraded.before or 'none'} → {upgraded.now}")


@app.command()
def check(database: Database = None, as_json: AsJson = False) -> None:
    """Look at database and files, each by its hash; the exit code is 1 if something is wrong. Nothing is changed."""
    with _told():
        settings = settings_with(database_url=database)
        _require_file(settings)
        with closing(Store(open_engine(settings.database), DatabaseClock())) as store:
            found = Findings(
                findings=list(
                    check_database(store, open_files(settings), _shown(settings), settings.database_connections)
                )
            )
    if as_json:
        print_json(found)
    else:
        show_findings(found, Screen())
    if found.is_wrong:
        raise typer.Exit(1)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder for the backup.", show_default=False)],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Back up the database and the files that it names, also while services run."""
    with _told():
        settings = settings_with(database_url=database)
        with _store(settings) as store:
            made = back_up(store, open_files(settings), folder)
    if as_json:
        print_json(made)
    else:
        say(f"{folder}: the database and {made.n_files} files, {made.size_bytes / 2**20:.1f} MiB")
    if made.missing:
        say(f"missing or damaged, and not in the backup: {', '.join(made.missing)}", is_error=True)
        raise typer.Exit(1)


@app.command(name="restore")
def restore_backup(
    folder: Annotated[Path, typer.Argument(help="A backup of `spezia db backup`.", show_default=False)],
    database: Database = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, while no service runs, to either kind of database. All leases in it become void."""
    with _told():
        settings = settings_with(database_url=database)
        with _alone(settings), _store(settings, migrates=True) as store:
            files = open_files(settings)
            _, copied = restore(folder, store, files, replaces=force)
    restored = Restored(n_rows=sum(copied.n_rows.values()), n_files=copied.n_files)
    if as_json:
        print_json(restored)
    else:
        say(f"{_shown(settings)}: {restored.n_rows} rows; {files.place}: {restored.n_files} files")


@app.command()
def copy(
    to: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Database to copy to, such as postgresql://USER@HOST/NAME; the password in PGPASSWORD or ~/.pgpass.",
            show_default=False,
        ),
    ],
    files_to: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Copy uploaded files to this folder, or s3://BUCKET/PREFIX, too; absent: they stay where they are.",
        ),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database to another one that is empty, while no service runs; an interrupted copy is begun again."""
    with _told():
        settings = settings_with(database_url=database)
        target = Settings(home=settings.home, database_url=to)
        if parse_url(settings.database) == parse_url(target.database):
            raise ValueError(f"{_shown(settings)} is the database to copy from; name it by --database, and another URL")
        with _alone(settings), _store(settings) as source, _store(target, migrates=True) as empty:
            files = open_files(settings)
            to_files = files if files_to is None else files_at(files_to, settings.files)
            copied = copy_database(source, empty, files, to_files)
    if as_json:
        print_json(copied)
    elif copied.n_rows:
        say(f"{_shown(target)}: {sum(copied.n_rows.values())} rows, compared one by one; {copied.n_files} files")
    else:
        say(f"{_shown(target)} holds all rows of {_shown(settings)} already")


@app.command()
def prune(
    older_than: Annotated[
        str,
        typer.Option(help="Age, such as 90d, 12h or 4w: of the end of studies, and of deliveries.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Remove old events and evaluations of finished studies, and old deliveries of webhooks, also while services run.

    Results, best trials with their curves, models and logs stay.
    """
    found = _AGE.fullmatch(older_than)
    if found is None:
        raise typer.BadParameter("write a number with h, d or w, such as 90d", param_hint="--older-than")
    age = int(found[1]) * _UNITS[found[2]]
    with _told(), _store(settings_with(database_url=database)) as store:
        pruned = prune_history(store, age, is_dry_run=dry_run)
    if as_json:
        print_json(pruned)
        return
    for one in pruned.studies:
        say(f"{one.study}: {one.n_events} events, {one.n_evaluations} evaluations")
    verb = "would be removed" if dry_run else "removed"
    say(f"{verb}: what is old of {len(pruned.studies)} studies, and {pruned.n_deliveries} deliveries of webhooks")


@contextmanager
def _told() -> Iterator[None]:
    with plain_errors(ValueError, ServiceError, AlreadyRunning):
        yield


@contextmanager
def _store(settings: Settings, *, migrates: bool = False) -> Iterator[Store]:
    if not migrates:
        _require_file(settings)
    engine = open_engine(settings.database)
    with closing(Store(engine, DatabaseClock())) as store:
        if migrates:
            migrate(engine)
        with store.reading() as tx:
            require_current(tx.connection)
        yield store


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the home of whatever service may use an embedded database: ours, and the folder that the file lies in."""
    file = _file_of(settings)
    homes = {settings.home.absolute()} if file is None else {settings.home.absolute(), file.absolute().parent}
    with ExitStack() as held:
        for home in sorted(homes):
            held.enter_context(hold(home))
        yield


def _require_file(settings: Settings) -> None:
    """To look at a file of SQLite that is not there would make it."""
    file = _file_of(settings)
    if file is not None and not file.exists():
        raise FileNotFoundError(ENOENT, "there is no such database; set SPEZIA_HOME, or give --database", str(file))


def _file_of(settings: Settings) -> Path | None:
    url = parse_url(settings.database)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _shown(settings: Settings) -> str:
    return parse_url(settings.database).render_as_string()  # without the password
