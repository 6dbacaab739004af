"""Commands about models: handing one to the service, listing those; fetching the one that won, and asking it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from spezia.cli.answers import PulledModel
from spezia.cli.options import AsJson, AsJsonLines, Name, Server, Verbose
from spezia.cli.plain_errors import plain_errors
from spezia.cli.tables import models_table
from spezia.client import Client
from spezia.client.address import address
from spezia.common.extras import require_trainer
from spezia.contract.best_trial import BestTrial
from spezia.contract.model_files import UploadedModelList
from spezia.contract.prediction import Prediction
from spezia.terminal.screen import Screen, print_json, say
from spezia.terminal.words import number_words

PREDICT = (sys.executable, "-P", "-m", "trainer.predict")
"""Command that asks a model, in a process that loads torch."""

app = typer.Typer()


class NoPrediction(RuntimeError):
    """A model cannot be asked; the message says why."""


@app.command()
def upload(
    path: Annotated[Path, typer.Argument(help="A CSV, JSONL or Parquet file, or the folder of a pretrained model.")],
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Hand data or a pretrained model to the service, for workers elsewhere; print the name for a study."""
    with plain_errors(), Client(address(server)) as client:
        uploaded = client.upload_model(path) if path.is_dir() else client.upload(path)
        if as_json:
            print_json(uploaded)
        else:
            say(uploaded.reference)


@app.command()
def models(server: Server = None, as_json: AsJson = False) -> None:
    """List the pretrained models that you have uploaded."""
    with plain_errors(), Client(address(server)) as client:
        found = list(client.list_models())
        if as_json:
            print_json(UploadedModelList(models=found, next_page_token=None))
        elif found:
            Screen().print(models_table(found))
        else:
            say("you have uploaded no model; upload one: spezia upload FOLDER")


@app.command()
def pull(
    name: Name,
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for the model; absent: the study's name.", show_default=False)
    ] = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the best model into a folder that `from_pretrained` opens, and print the folder."""
    with plain_errors(), Client(address(server)) as client:
        fetched = client.best_model(name, folder or Path(name))
        if as_json:
            print_json(PulledModel(study=name, folder=str(fetched)))
        else:
            say(str(fetched))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(metavar="STUDY|FOLDER", help="A study, or the folder of a model.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT…", help="Texts, or paths of images; absent: each line of the standard input."),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The folder's model was trained on conversations.")] = False,
    server: Server = None,
    as_json: AsJsonLines = False,
    verbose: Verbose = False,
) -> None:
    """Ask the best model of a study, or the model in a folder: labels, numbers, tags or a completion for each text."""
    with plain_errors(NoPrediction):
        require_trainer("predict")
        with _folder_of(model, server, is_chat=chat) as (folder, is_chat):
            asked = inputs or [line.rstrip("\n") for line in sys.stdin if line.strip()]
            for prediction in _ask(folder, asked, is_chat=is_chat):
                if as_json:
                    print_json(prediction, is_line=True)
                else:
                    say(prediction_words(prediction, is_verbose=verbose))


def prediction_words(prediction: Prediction, *, is_verbose: bool = False) -> str:
    """Return an answer in a line: what the model says, how sure it is, and of what; ``is_verbose``: all classes."""
    if prediction.completion is not None:
        return prediction.completion
    if prediction.number is not None:
        return f"{number_words(prediction.number)}  {prediction.input}"
    if prediction.tags is not None:
        tags = [f"{one.text} [{one.tag} {one.probability:.2f}]" for one in prediction.tags]
        return f"{', '.join(tags) or 'no tags'}  {prediction.input}"
    probabilities = prediction.probabilities or {}
    answers = [prediction.label] if prediction.label is not None else prediction.labels or []
    named = probabilities if is_verbose else answers
    words = ", ".join(f"{label} {probabilities[label]:.2f}" for label in named)
    return f"{words or 'no label'}  {prediction.input}"


@contextmanager
def _folder_of(model: str, server: str | None, *, is_chat: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of a model, which is fetched for a while if need be, and whether it speaks in conversations."""
    if Path(model).is_dir():
        yield Path(model), is_chat
        return
    with Client(address(server)) as client, TemporaryDirectory() as scratch:
        spec = client.get_study(model).spec
        columns = (spec.data.columns if spec.data else None) or {}
        if spec.task == "script":
            raise NoPrediction(f"the model of {model} comes of a script, which alone knows how to ask it: spezia pull")
        if "text_pair" in columns:
            raise NoPrediction(f"the model of {model} reads pairs of texts; fetch it: spezia pull {model}")
        best = client.best(model)
        if isinstance(best, BestTrial) and best.model_directory and Path(best.model_directory).is_dir():
            folder = Path(best.model_directory)
        else:
            folder = client.best_model(model, Path(scratch) / "model")
        yield folder, is_chat or "messages" in columns


def _ask(folder: Path, inputs: list[str], *, is_chat: bool) -> list[Prediction]:
    command = [*PREDICT, str(folder.absolute()), *(["--chat"] if is_chat else [])]
    ended = subprocess.run(command, input=json.dumps(inputs), capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        reasons = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise NoPrediction(f"the model cannot be asked: {reasons[-1]}")
    return [Prediction.model_validate_json(line) for line in ended.stdout.splitlines()]
