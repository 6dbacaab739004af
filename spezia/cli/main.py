"""`spezia`: everything but `serve` is a client of the REST API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from service.cli.keys import app as keys
from service.cli.local_service import NoLocalService, local_service
from service.cli.run import StudyUnsuccessful, curl_lines, follow, save_spec, submit, with_name
from service.home_lock import AlreadyRunning, find
from service.serve import NoKeys
from service.serve import serve as serve_until_ended
from service.settings import Settings
from spezia.cli.progress import show_result, trials_table
from spezia.cli.study_file import StudyFileError, load_study_file
from spezia.cli.tables import preset_table, presets_table, show_validation
from spezia.client import Client, ClientError
from spezia.common.parent import end_with_parent
from spezia.contract.study import Study
from spezia.contract.study_spec import StudyChange
from spezia.contract.wire import nearest_name_hint

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

app = typer.Typer(help="Hyperparameter search for fine-tuning.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(keys, name="key")

StudyFile = Annotated[Path, typer.Argument(help="The study: YAML or JSON.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the study.", show_default=False)]
Server = Annotated[
    str | None, typer.Option(envvar="SPEZIA_SERVER", help="Address of the service; absent: the local one.")
]
Database = Annotated[str | None, typer.Option(help="SQLAlchemy URL; absent: SQLite in .spezia.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Local workers; absent: one per GPU, else one per core, at most 4.")
]
DataRoots = Annotated[list[Path] | None, typer.Option(help="Folder that workers may read data and models from.")]
AllowScripts = Annotated[
    list[Path] | None, typer.Option(help="Folder of Python files that studies of the task script may run.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the best trial as JSON, and nothing else.")]


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; other than loopback only with API keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free port.")] = None,
    database: Database = None,
    data_root: DataRoots = None,
    allow_scripts: AllowScripts = None,
    workers: Workers = None,
    restored: Annotated[
        bool, typer.Option("--restored", help="The database comes from a backup: no lease in it is good any more.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
) -> None:
    """Run the service, with workers of this machine beside it."""
    with _plain_errors():
        settings = _settings(
            host=host,
            port=port,
            database_url=database,
            n_workers=workers,
            data_roots=data_root,
            allow_scripts=allow_scripts,
        )
        if exit_with_parent:
            end_with_parent()
        code = serve_until_ended(settings, is_restored=restored)
    raise typer.Exit(code)


@app.command()
def run(
    study: StudyFile,
    as_json: AsJson = False,
    new: Annotated[bool, typer.Option("--new", help="Run it afresh, under the next free name.")] = False,
    database: Database = None,
    allow_scripts: AllowScripts = None,
    workers: Workers = None,
) -> None:
    """Run a study here, starting a service if none runs, and print the best trial.

    The same file again shows a finished study and goes on with an unfinished one.
    """
    console = Console(stderr=as_json)
    with _plain_errors():
        settings = _settings(database_url=database, n_workers=workers, allow_scripts=allow_scripts)
        spec = with_name(load_study_file(study), study)
        with local_service(settings, [study.absolute().parent]) as (url, is_ours), Client(url) as client:
            submitted = submit(client, spec, is_new=new)
            try:
                best = follow(client, submitted, console)
            except KeyboardInterrupt:
                kept = f"stopped watching; study {submitted.name} and all its trials are kept"
                goes_on = _how_it_goes_on(submitted.name, spec.name, study) if is_ours else "it runs on"
                console.print(f"\n{kept}; {goes_on}", soft_wrap=True)
                raise typer.Exit(INTERRUPTED) from None
        saved = save_spec(settings.home, submitted.spec)
        served = f"http://{settings.host}:{settings.port}" if is_ours else url
        console.print(f"\nby the REST API{' (with `spezia serve` running)' if is_ours else ''}:")
        for line in curl_lines(served, submitted.name, saved):
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
        if as_json:
            typer.echo(best.model_dump_json(indent=2))


@app.command(name="submit")
def submit_study(study: StudyFile, server: Server = None) -> None:
    """Hand a study to a service and return at once."""
    with _plain_errors(), Client(_address(server)) as client:
        created = client.create_study(with_name(load_study_file(study), study))
        typer.echo(f"{created.name}: {created.state}; follow it: spezia watch {created.name}")
        for warning in created.warnings:
            typer.echo(f"note: {warning}")


@app.command()
def validate(study: StudyFile, server: Server = None) -> None:
    """Check a study without starting it: ranges, budget, and what to think about again."""
    with _plain_errors(), Client(_address(server)) as client:
        show_validation(client.validate(with_name(load_study_file(study), study)), Console())


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show its ranges, defaults and sources.")] = None,
    server: Server = None,
) -> None:
    """List the search spaces that a study may take as `preset`."""
    with _plain_errors(), Client(_address(server)) as client:
        known = {preset.name: preset for preset in client.presets().presets}
        if name is not None and name not in known:
            raise typer.BadParameter(f"unknown preset{nearest_name_hint(name, known)}", param_hint="NAME")
        table = presets_table(list(known.values())) if name is None else preset_table(known[name])
        Console().print(table)


@app.command()
def watch(name: Name, server: Server = None) -> None:
    """Show a study's progress until it ends, then its result."""
    with _plain_errors(), Client(_address(server)) as client:
        try:
            follow(client, client.get_study(name), Console())
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


@app.command()
def best(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Print the best trial so far."""
    with _plain_errors(), Client(_address(server)) as client:
        found = client.best(name)
        if as_json:
            typer.echo(found.model_dump_json(indent=2))
        else:
            show_result(found, client.get_study(name), Console())


@app.command()
def trials(name: Name, server: Server = None) -> None:
    """List the trials of a study."""
    with _plain_errors(), Client(_address(server)) as client:
        Console().print(trials_table(list(client.list_trials(name))))


@app.command()
def stop(name: Name, server: Server = None) -> None:
    """Start no new trials; the study ends when its running ones have."""
    _act(name, server, Client.stop)


@app.command()
def pause(name: Name, server: Server = None) -> None:
    """Start no new trials until `spezia resume`."""
    _act(name, server, Client.pause)


@app.command()
def resume(name: Name, server: Server = None) -> None:
    """Go on after a pause."""
    _act(name, server, Client.resume)


@app.command()
def cancel(name: Name, server: Server = None) -> None:
    """End a study and its running trials now; what it has found is kept."""
    _act(name, server, Client.cancel)


@app.command()
def delete(name: Name, server: Server = None) -> None:
    """Remove a study, its trials and its models."""
    with _plain_errors(), Client(_address(server)) as client:
        client.delete(name)
        typer.echo(f"{name}: deleted")


@app.command()
def extend(
    name: Name,
    n_trials: Annotated[int | None, typer.Option(min=1, help="Trials in all.")] = None,
    n_parallel: Annotated[int | None, typer.Option(min=1, help="Trials at once.")] = None,
    timeout_seconds: Annotated[float | None, typer.Option(help="From the study's creation.")] = None,
    device_seconds: Annotated[float | None, typer.Option(help="For all trials together.")] = None,
    server: Server = None,
) -> None:
    """Change a study's limits, up or down; a finished one goes on when one is raised."""
    given = {
        "n_trials": n_trials,
        "n_parallel": n_parallel,
        "timeout_seconds": timeout_seconds,
        "device_seconds": device_seconds,
    }
    with _plain_errors():
        change = StudyChange.model_validate({limit: value for limit, value in given.items() if value is not None})
        _act(name, server, lambda client, name: client.extend(name, change))


@app.command()
def log(name: Name, number: Annotated[int, typer.Argument(min=0)], server: Server = None) -> None:
    """Print what a trial has printed."""
    with _plain_errors(), Client(_address(server)) as client:
        typer.echo(client.log(name, number), nl=False)


def main() -> None:
    """Entry point."""
    app()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """End with one clear message and code 1 where a person, a study or the machine is the cause."""
    try:
        yield
    except (ClientError, StudyFileError, StudyUnsuccessful, NoLocalService, AlreadyRunning, NoKeys) as error:
        typer.echo(f"spezia: {error}", err=True)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        typer.echo("spezia: " + "\n".join(problems), err=True)
    except OSError as error:
        typer.echo(f"spezia: {error}", err=True)
    else:
        return
    raise typer.Exit(1)


def _act(name: str, server: str | None, verb: Callable[[Client, str], Study]) -> None:
    with _plain_errors(), Client(_address(server)) as client:
        study = verb(client, name)
        typer.echo(f"{study.name}: {study.state}")


def _settings(**given: Any) -> Settings:
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _address(server: str | None) -> str:
    if server:
        return server
    settings = Settings()
    running = find(settings.home)
    return running.url if running else f"http://{settings.host}:{settings.port}"


def _how_it_goes_on(name: str, name_in_file: str | None, path: Path) -> str:
    if name == name_in_file:
        return f"`spezia run {path}` goes on with it"
    return f"`spezia serve` goes on with it, and `spezia watch {name}` shows it"
