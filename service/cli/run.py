"""What `spezia run` does between reading a study and printing its result."""

import os
import re
from pathlib import Path

from rich.console import Console

from spezia.cli.progress import show_result, watch
from spezia.client import Client, SpeziaError
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.problem import Code
from spezia.contract.study import Study
from spezia.contract.study_spec import StudySpec


class StudyUnsuccessful(RuntimeError):
    """There is no answer to show; the message says why."""


def with_name(spec: StudySpec, path: Path) -> StudySpec:
    """Name a study after its file, so that running the file again finds it."""
    if spec.name is not None:
        return spec
    stem = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:64]
    return spec.model_copy(update={"name": stem or "study"})


def submit(client: Client, spec: StudySpec, *, is_new: bool) -> Study:
    """Create the study, or find it as it is; ``is_new`` makes another under the next free name.

    Raises:
        SpeziaError: The service refuses the spec.
        StudyUnsuccessful: The name belongs to a study of another spec.
    """
    if is_new:
        spec = spec.model_copy(update={"name": _free_name(client, spec)})
    try:
        study = client.create_study(spec)
    except SpeziaError as refused:
        if refused.problem.code != Code.STUDY_EXISTS:
            raise
        raise StudyUnsuccessful(f"{refused}\n--new runs this one beside it, under the next free name") from None
    return client.resume(study.name) if study.state == "paused" else study


def follow(client: Client, study: Study, console: Console) -> BestTrial | ParetoFront:
    """Show the study until it has ended, then its result.

    Raises:
        StudyUnsuccessful: It failed, or was cancelled without a result.
    """
    ended = watch(client, study.name, console)
    if ended.state == "failed":
        assert ended.failure is not None
        raise StudyUnsuccessful(f"study {ended.name} failed: {ended.failure.failure_class}: {ended.failure.message}")
    try:
        best = client.best(ended.name)
    except SpeziaError as refused:
        if refused.problem.code != Code.NO_BEST:
            raise
        raise StudyUnsuccessful(f"study {ended.name} is {ended.state}: {refused}") from None
    show_result(best, ended, console)
    return best


def save_spec(home: Path, spec: StudySpec) -> Path:
    """Write the spec as JSON, as the API takes it."""
    saved = home / f"{spec.name}.json"
    saved.write_text(spec.model_dump_json(indent=2) + "\n")
    return saved


def curl_lines(url: str, name: str, saved: Path) -> list[str]:
    """Return the same study as calls of the REST API, which read the key from where we did."""
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
