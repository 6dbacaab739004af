"""Commands about studies: check, submit, follow, steer, list and remove them; and the workers that carry them out."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from spezia.cli.answers import DeletedModel, DeletedStudy
from spezia.cli.complete import study_names
from spezia.cli.follow import INTERRUPTED, follow, follow_as_json
from spezia.cli.joined_commands import joined_check
from spezia.cli.next_command import next_command
from spezia.cli.options import AsJson, AsJsonLines, Name, Server, StudyFile, Verbose
from spezia.cli.plain_errors import plain_errors
from spezia.cli.study_file import load_study_file
from spezia.cli.tables import preset_table, presets_table, show_validation, studies_table, workers_table
from spezia.client import Client, Unreachable
from spezia.client.address import address, known_address
from spezia.contract.advice import Change
from spezia.contract.dataset import PREFIX
from spezia.contract.preset import PresetList
from spezia.contract.study import Study, StudyList, StudyState
from spezia.contract.study_spec import StudyChange, StudySpec
from spezia.contract.validation import Validation
from spezia.contract.wire import nearest_name_hint
from spezia.contract.workers import WorkerList
from spezia.terminal.screen import Screen, print_json, say

app = typer.Typer()


@app.command(name="submit")
def submit_study(study: StudyFile, server: Server = None, as_json: AsJson = False) -> None:
    """Hand a study to a service and return at once."""
    with plain_errors(), Client(address(server)) as client:
        created = client.post_study(load_study_file(study))
        if as_json:
            print_json(created)
            return
        say(f"{created.name}: {created.state}; follow it: {next_command('watch', created.name, server=server)}")
        for warning in created.warnings:
            say(f"note: {warning}")


@app.command()
def validate(study: StudyFile, server: Server = None, as_json: AsJson = False, verbose: Verbose = False) -> None:
    """Check a study without starting it: ranges, budget, and what to think about again.

    No service is needed where spezia\\[service] is installed; one that is named, or runs here, is asked.
    """
    with plain_errors():
        found = _validate(load_study_file(study), server)
        if as_json:
            print_json(found)
        else:
            show_validation(found, Screen(), is_verbose=verbose)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show its ranges, defaults and sources.")] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List the search spaces that a study may take as `preset`."""
    with plain_errors(), Client(address(server)) as client:
        known = {preset.name: preset for preset in client.presets().presets}
        if name is not None and name not in known:
            raise typer.BadParameter(f"unknown preset{nearest_name_hint(name, known)}", param_hint="NAME")
        if as_json:
            print_json(PresetList(presets=list(known.values())) if name is None else known[name])
        else:
            Screen().print(presets_table(list(known.values())) if name is None else preset_table(known[name]))


@app.command()
def studies(
    state: Annotated[StudyState | None, typer.Option(help="Those in this state alone.")] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """List studies: state, progress and the best so far."""
    with plain_errors(), Client(address(server)) as client:
        found = list(client.list_studies(state))
        if as_json:
            print_json(StudyList(studies=found, next_page_token=None))
        elif found:
            Screen().print(studies_table(found))
        else:
            say("there are no studies; begin one: spezia submit STUDY.yaml" if state is None else "there are none")


@app.command()
def workers(server: Server = None, as_json: AsJson = False) -> None:
    """List the workers that are connected, and what each does now."""
    with plain_errors(), Client(address(server)) as client:
        found = list(client.list_workers())
        if as_json:
            print_json(WorkerList(workers=found, next_page_token=None))
        elif found:
            Screen().print(workers_table(found))
        else:
            say("no worker is connected; one joins by: spezia-worker --server URL")


@app.command()
def watch(name: Name, server: Server = None, as_json: AsJsonLines = False, verbose: Verbose = False) -> None:
    """Show a study's progress until it ends, then its result.

    With --json a line of JSON, the study, each time that it has changed.
    """
    with plain_errors(), Client(address(server)) as client:
        study = client.get_study(name)
        try:
            if as_json:
                follow_as_json(client, study)
            else:
                follow(client, study, Screen(), is_verbose=verbose)
        except KeyboardInterrupt:
            again = next_command("watch", name, server=server)
            say(f"stopped watching; study {name} runs on, and `{again}` shows it again", is_error=True)
            raise typer.Exit(INTERRUPTED) from None


@app.command()
def stop(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Start no new trials; the study ends when its running ones have."""
    _act(name, server, Client.stop, as_json=as_json)


@app.command()
def pause(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Start no new trials until `spezia resume`."""
    _act(name, server, Client.pause, as_json=as_json)


@app.command()
def resume(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """Go on after a pause."""
    _act(name, server, Client.resume, as_json=as_json)


@app.command()
def cancel(name: Name, server: Server = None, as_json: AsJson = False) -> None:
    """End a study and its running trials now; what it has found is kept."""
    _act(name, server, Client.cancel, as_json=as_json)


@app.command()
def delete(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a study, or sha256:… of an uploaded model.", show_default=False, autocompletion=study_names
        ),
    ],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Remove a study, its trials and its models; or a model that you have uploaded and that no study needs."""
    with plain_errors(), Client(address(server)) as client:
        deleted: DeletedModel | DeletedStudy
        if name.startswith(PREFIX):
            client.delete_model(name)
            deleted = DeletedModel(reference=name)
        else:
            client.delete(name)
            deleted = DeletedStudy(name=name)
        if as_json:
            print_json(deleted)
        else:
            say(f"{name}: deleted")


@app.command()
def clone(
    name: Name,
    new_name: Annotated[
        str | None, typer.Argument(help="Name of the new study; absent: the service makes one up.", show_default=False)
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change of the spec, such as search_space.epochs.high=6."),
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Begin a new study from the spec of another one, with changes such as those that advice names."""
    asked = [_change(one) for one in changes or []]
    _act(name, server, lambda client, name: client.clone(name, new_name, asked), as_json=as_json)


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
    as_json: AsJson = False,
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
        _act(name, server, lambda client, name: client.extend(name, change), as_json=as_json)


def _validate(spec: StudySpec, server: str | None) -> Validation:
    check = None if known_address(server) else joined_check("validate")
    if check is not None:
        found: Validation = check(spec)
        return found
    with Client(address(server)) as client:
        try:
            return client.validate(spec)
        except Unreachable as nobody:
            raise Unreachable(f"{nobody}, or check it without one: pip install 'spezia[service]'") from None


def _change(text: str) -> Change:
    field, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} has no value; write FIELD=VALUE", param_hint="--set")
    try:
        return Change(field=field, value=json.loads(value))
    except ValueError:
        return Change(field=field, value=value)


def _act(name: str, server: str | None, verb: Callable[[Client, str], Study], *, as_json: bool) -> None:
    with plain_errors(), Client(address(server)) as client:
        study = verb(client, name)
        if as_json:
            print_json(study)
        else:
            say(f"{study.name}: {study.state}")
