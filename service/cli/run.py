"""`spezia run`: a study from its file to its result, with a service of its own where none runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from service.cli.local_service import NoLocalService, local_service
from service.cli.options import AllowScripts, Database, DataRoots, Workers, settings_with
from spezia.cli.follow import INTERRUPTED, StudyUnsuccessful, follow
from spezia.cli.next_command import next_command
from spezia.cli.options import AsJson, StudyFile
from spezia.cli.plain_errors import plain_errors
from spezia.cli.study_file import load_study_file
from spezia.client import Client, SpeziaError
from spezia.common.home_lock import url_from_here
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.problem import Code
from spezia.contract.study import Study
from spezia.contract.study_spec import StudySpec
from spezia.terminal.screen import Screen, print_json

app = typer.Typer(add_completion=False)


@app.command()
def run(
    study: StudyFile,
    as_json: AsJson = False,
    new: Annotated[bool, typer.Option("--new", help="Run it afresh, under the next free name.")] = False,
    database: Database = None,
    data_root: DataRoots = None,
    allow_scripts: AllowScripts = None,
    workers: Workers = None,
) -> None:
    """Run a study here, starting a service if none runs, and print the best trial.

    The same file again shows a finished study and goes on with an unfinished one.
    """
    console = Screen(is_error=as_json)
    with plain_errors(NoLocalService):
        settings = settings_with(
            database_url=database, n_workers=workers, data_roots=data_root, allow_scripts=allow_scripts
        )
        spec = load_study_file(study)
        with local_service(settings, [study.absolute().parent]) as (url, is_ours), Client(url) as client:
            if not is_ours and (data_root or allow_scripts or workers is not None):
                options = "--data-root, --allow-scripts and --workers"
                console.print_line(f"note: the service at {url} runs already, with its own {options}")
            submitted = submit(client, spec, is_new=new)
            try:
                best = follow(client, submitted, console)
            except KeyboardInterrupt:
                kept = f"stopped watching; study {submitted.name} and all its trials are kept"
                goes_on = _how_it_goes_on(submitted.name, spec.name, study) if is_ours else "it runs on"
                console.print_line(f"\n{kept}; {goes_on}")
                raise typer.Exit(INTERRUPTED) from None
        saved = save_spec(settings.home, submitted.spec)
        served = url_from_here(settings.host, settings.port) if is_ours else url
        console.print_line(f"\nby the REST API{' (with `spezia serve` running)' if is_ours else ''}:")
        for line in curl_lines(served, submitted.name, saved):
            console.print_line(f"  {line}")
        if as_json:
            print_json(best)


def submit(client: Client, spec: StudySpec, *, is_new: bool) -> Study:
    """Create a study, or find it as it is; ``is_new`` makes another under the next free name.

    Raises:
        SpeziaError: The service refuses the spec.
        StudyUnsuccessful: The name belongs to a study of another spec.
    """
    if is_new:
        spec = spec.model_copy(update={"name": _free_name(client, spec)})
    try:
        study = client.post_study(spec)
    except SpeziaError as refused:
        if refused.problem.code != Code.STUDY_EXISTS:
            raise
        raise StudyUnsuccessful(f"{refused}\n--new runs this one beside it, under the next free name") from None
    return client.resume(study.name) if study.state == "paused" else study


def save_spec(home: Path, spec: StudySpec) -> Path:
    """Write a spec to the home folder, as the JSON that the API takes; return the file."""
    saved = home / f"{spec.name}.json"
    saved.write_text(spec.model_dump_json(indent=2) + "\n")
    return saved


def curl_lines(url: str, name: str, saved: Path) -> list[str]:
    """Return the lines of a shell that post a study and read its answer by the REST API.

    They take the key, if one is needed, from the environment variable that the client takes it from.
    """
    curl = f'curl -H "Authorization: Bearer ${KEY_VARIABLE}"' if KEY_VARIABLE in os.environ else "curl"
    study = f"{url}/v1/studies/{name}"
    return [
        f"{curl} -X POST {url}/v1/studies -H 'Content-Type: application/json' -d @{saved}",
        f"{curl} {study}/trials",
        f"{curl} {study}/best",
    ]


def _free_name(client: Client, spec: StudySpec) -> str:
    assert spec.name is not None
    if not _exists(client, spec.name):
        return spec.name
    number = 2
    while _exists(client, numbered := f"{spec.name[: 63 - len(str(number))]}-{number}"):
        number += 1
    return numbered


def _exists(client: Client, name: str) -> bool:
    try:
        client.get_study(name)
    except SpeziaError as refused:
        if refused.problem.code != Code.STUDY_NOT_FOUND:
            raise
        return False
    return True


def _how_it_goes_on(name: str, name_in_file: str | None, path: Path) -> str:
    if name == name_in_file:
        return f"`{next_command('run', path)}` goes on with it"
    return f"`spezia serve` goes on with it, and `spezia watch {name}` shows it"
