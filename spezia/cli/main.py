"""`spezia`: commands that speak HTTP to a service, here or elsewhere."""

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from spezia.cli.address import address, known_address
from spezia.cli.follow import INTERRUPTED, follow
from spezia.cli.joined_commands import WithJoinedCommands, local_check
from spezia.cli.options import AsJson, Name, Server, StudyFile
from spezia.cli.plain_errors import plain_errors
from spezia.cli.result import show_result
from spezia.cli.study_file import load_study_file
from spezia.cli.tables import preset_table, presets_table, show_validation, trials_table
from spezia.cli.words import replay_words
from spezia.client import Client, Unreachable
from spezia.contract.replay import Verdict
from spezia.contract.study import Study
from spezia.contract.study_spec import StudyChange
from spezia.contract.wire import nearest_name_hint

Number = Annotated[int, typer.Argument(min=0, help="Number of the trial, from 0.")]

REPLAY_EXITS: dict[Verdict, int] = {"equal": 0, "within_tolerance": 0, "different": 1, "not_comparable": 2}
"""Exit codes of `spezia replay`."""

app = typer.Typer(
    cls=WithJoinedCommands,
    help="Hyperparameter search for fine-tuning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command(name="submit")
def submit_study(study: StudyFile, server: Server = None) -> None:
    """Hand a study to a service and return at once."""
    with plain_errors(), Client(address(server)) as client:
        created = client.create_study(load_study_file(study))
        typer.echo(f"{created.name}: {created.state}; follow it: spezia watch {created.name}")
        for warning in created.warnings:
            typer.echo(f"note: {warning}")


@app.command()
def validate(study: StudyFile, server: Server = None) -> None:
    """Check a study without starting it: ranges, budget, and what to think about again.

    No service is needed where spezia\\[service] is installed; one that is named, or runs here, is asked.
    """
    with plain_errors():
        spec = load_study_file(study)
        check = None if known_address(server) else local_check()
        if check is not None:
            show_validation(check(spec), Console())
            return
        with Client(address(server)) as client:
            try:
                show_validation(client.validate(spec), Console())
            except Unreachable as nobody:
                raise Unreachable(f"{nobody}, or check it without one: pip install 'spezia[service]'") from None


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show its ranges, defaults and sources.")] = None,
    server: Server = None,
) -> None:
    """List the search spaces that a study may take as `preset`."""
    with plain_errors(), Client(address(server)) as client:
        known = {preset.name: preset for preset in client.presets().presets}
        if name is not None and name not in known:
            raise typer.BadParameter(f"unknown preset{nearest_name_hint(name, known)}", param_hint="NAME")
        table = presets_table(list(known.values())) if name is None else preset_table(known[name])
        Console().print(table)


@app.command()
def watch(name: Name, server: Server = None) -> None:
    """Show a study's progress until it ends, then its result."""
    with plain_errors(), Client(address(server)) as client:
        try:
            follow(client, client.get_study(name), Console())
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


@app.command()
def best(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Print the best trial so far."""
    with plain_errors(), Client(address(server)) as client:
        found = client.best(name)
        if as_json:
            typer.echo(found.model_dump_json(indent=2))
        else:
            show_result(found, client.get_study(name), Console())


@app.command()
def trials(name: Name, server: Server = None) -> None:
    """List the trials of a study."""
    with plain_errors(), Client(address(server)) as client:
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
    with plain_errors(), Client(address(server)) as client:
        client.delete(name)
        typer.echo(f"{name}: deleted")


@app.command()
def extend(
    name: Name,
    n_trials: Annotated[int | None, typer.Option(min=1, help="Trials in all.")] = None,
    n_parallel: Annotated[int | None, typer.Option(min=1, help="Trials at once.")] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option(help="From the study's creation, without its pauses.")
    ] = None,
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
    with plain_errors():
        change = StudyChange.model_validate({limit: value for limit, value in given.items() if value is not None})
        _act(name, server, lambda client, name: client.extend(name, change))


@app.command()
def log(name: Name, number: Number, server: Server = None) -> None:
    """Print what a trial has printed."""
    with plain_errors(), Client(address(server)) as client:
        typer.echo(client.log(name, number), nl=False)


@app.command()
def replay(name: Name, number: Number, server: Server = None, as_json: AsJson = False) -> None:
    """Run a trial again, and say whether its numbers come out the same.

    The exit code is 0 where they do, 1 where they do not, and 2 where they could not be compared.
    """
    with plain_errors(), Client(address(server)) as client:
        client.replay(name, number)
        try:
            result = client.wait_for_replay(name, number)
        except KeyboardInterrupt:
            typer.echo(f"the replay goes on; see it again: spezia replay {name} {number}", err=True)
            raise typer.Exit(INTERRUPTED) from None
    typer.echo(result.model_dump_json(indent=2) if as_json else replay_words(result))
    raise typer.Exit(REPLAY_EXITS[result.verdict])


def main() -> None:
    """Run the command that the process was started with."""
    app()


def _act(name: str, server: str | None, verb: Callable[[Client, str], Study]) -> None:
    with plain_errors(), Client(address(server)) as client:
        study = verb(client, name)
        typer.echo(f"{study.name}: {study.state}")
