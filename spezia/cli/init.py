"""`spezia init`: a study file for a table of one's own, by what the table seems to hold and what a person says."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spezia.cli.answers import WrittenStudy
from spezia.cli.data_file import DataFile, DataFileError, read_data_file
from spezia.cli.next_command import next_command
from spezia.cli.options import AsJson
from spezia.cli.plain_errors import plain_errors
from spezia.cli.study_file import name_after
from spezia.cli.write_study import NewStudy, study_text
from spezia.common.first_choices import model_for, preset_for
from spezia.common.guess_columns import preview
from spezia.common.plural import plural
from spezia.common.table_head import TableHead
from spezia.contract.preview import ColumnKind, Guess
from spezia.contract.study_spec import POSTED, StudySpec
from spezia.contract.tasks import TASKS, TRAINED_TASKS, Task
from spezia.contract.wire import nearest_name_hint
from spezia.terminal.screen import print_json, say

_USUAL_NAMES = {"train", "training", "data", "dataset"}
_KINDS: dict[str, tuple[ColumnKind, ...]] = {"text": ("text",), "label": ("label", "labels", "number")}
_WORDS = {"high": "sure", "medium": "likely", "low": "a guess"}


class InitError(ValueError):
    """What keeps a study file from being written, and what to do."""


def init(
    data: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet file of examples.", show_default=False)],
    task: Annotated[str | None, typer.Option(help=f"One of {', '.join(TRAINED_TASKS)}; absent: guessed.")] = None,
    text: Annotated[str | None, typer.Option(help="Name of the column of texts; absent: guessed.")] = None,
    label: Annotated[str | None, typer.Option(help="Name of the column of labels; absent: guessed.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=NAME for another column of the task, such as text_pair=second.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Pretrained model; absent: a small one.")] = None,
    preset: Annotated[str | None, typer.Option(help="Preset of ranges; absent: by task and number of rows.")] = None,
    validation: Annotated[Path | None, typer.Option(help="File of validation rows; absent: a fifth of DATA.")] = None,
    test: Annotated[Path | None, typer.Option(help="File of test rows, on which the winner is scored.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is guessed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a study file for a table of your own.

    Task and columns are guessed from the first rows, each with its reason. On a terminal you are asked, elsewhere and
    with --json the guess is taken.
    """
    with plain_errors(InitError, DataFileError):
        if output.exists() and not force:
            raise InitError(f"{output} exists; --force overwrites it, --output NAME writes another file")
        file = read_data_file(data)
        given = _given_columns(text, label, column or [])
        asks = not yes and not as_json and is_terminal()
        study = _decide(file, _task(task), given, asks=asks, shows=not as_json)
        study = replace(study, validation=validation, test=test)
        if model is not None or preset is not None:
            fitting = preset_for(study.task, file.n_rows, model)
            study = replace(study, model=model or study.model, preset=preset or fitting)
        if asks:
            study = _ask_for_more(study, has_model=model is not None)
        for other in (study.validation, study.test):
            if other is not None:
                _check_has_columns(other, study.columns)
        _check(study)
        _write(output, study_text(study, output))
        if as_json:
            print_json(_written(study, output))
        else:
            say(f"wrote {output}; next: {_next_command(study, output)}")


def is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _decide(file: DataFile, task: Task | None, given: Mapping[str, str], *, asks: bool, shows: bool) -> NewStudy:
    """Choose task and columns: those given, else those that a person confirms, else those guessed."""
    guess = _guess(file, task, given)
    if shows:
        _show(file, guess)
    if asks:
        task = _ask_task(guess, task)
        if guess is None or guess.task != task:
            guess = _guess(file, task, given)
    chosen = task or (guess.task if guess else None)
    if chosen is None:
        raise InitError(f"{file.path}: {preview(file.head).no_guess} (--task, --text, --label)")
    columns = _columns(file, chosen, guess, given)
    if asks:
        columns = {
            field: _ask_column(file, field, name) if field not in given else name for field, name in columns.items()
        }
    return NewStudy(
        name=_name(file.path),
        task=chosen,
        columns=columns,
        train=file.path,
        model=model_for(chosen, columns),
        preset=preset_for(chosen, file.n_rows),
        label_separator=guess.label_separator if guess and columns.get("label") in _guessed(guess).values() else None,
        reasons=tuple(
            f"{each.field}: {each.reason}." for each in guess.columns if columns.get(each.field) == each.column
        )
        if guess
        else (),
    )


def _name(path: Path) -> str:
    """Return a name for a study of this file: that of its folder where the file has the name that all have."""
    stem = path.name.split(".")[0].lower()
    return name_after(Path(os.path.abspath(path)).parent if stem in _USUAL_NAMES else path)


def _task(name: str | None) -> Task | None:
    if name is None:
        return None
    if name not in TRAINED_TASKS:
        raise InitError(
            f"--task: {name!r} is none of {', '.join(TRAINED_TASKS)}{nearest_name_hint(name, TRAINED_TASKS)}"
        )
    return name


def _given_columns(text: str | None, label: str | None, others: Sequence[str]) -> dict[str, str]:
    given = {field: name for field, name in (("text", text), ("label", label)) if name is not None}
    for other in others:
        field, is_there, name = other.partition("=")
        if not (field and is_there and name):
            raise InitError(f"--column {other}: write FIELD=NAME, such as text_pair=second")
        given[field] = name
    return given


def _guess(file: DataFile, task: Task | None, given: Mapping[str, str]) -> Guess | None:
    """Return what the table is for, where the columns given do not rule it out."""
    head = _without_rivals(file.head, given)
    guess = preview(head, task).guess
    if guess is not None and not set(given) <= set(_guessed(guess)) and task is None:
        fitting = (preview(head, each).guess for each in TRAINED_TASKS)
        return next((each for each in fitting if each is not None and set(given) <= set(_guessed(each))), guess)
    return guess


def _without_rivals(head: TableHead, given: Mapping[str, str]) -> TableHead:
    """Leave out the columns that might be taken for one that is given: what that holds decides the task."""
    rivals = {kind for field, kinds in _KINDS.items() if field in given for kind in kinds}
    kept = [
        number
        for number, column in enumerate(preview(head).columns)
        if column.kind not in rivals or head.columns[number] in given.values()
    ]
    columns = [head.columns[number] for number in kept]
    return replace(head, columns=columns, rows=[[row[number] for number in kept] for row in head.rows])


def _guessed(guess: Guess) -> dict[str, str]:
    return {each.field: each.column for each in guess.columns}


def _columns(file: DataFile, task: Task, guess: Guess | None, given: Mapping[str, str]) -> dict[str, str]:
    """Complete the columns given by those guessed to a set of columns of the task.

    Raises:
        InitError: a column is not in the file, belongs to no set, or is missing.
    """
    for field, name in given.items():
        if name not in file.head.columns:
            listed = ", ".join(map(repr, file.head.columns[:20]))
            raise InitError(
                f"{file.path} has no column {name!r}, only {listed}{nearest_name_hint(name, file.head.columns)}"
            )
        if file.head.columns.count(name) > 1:
            raise InitError(f"{file.path} has several columns of the name {name!r}; rename all but one")
        if not any(field in columns for columns in TASKS[task].columns):
            known = {each for columns in TASKS[task].columns for each in columns}
            raise InitError(f"{task} has no column {field}; it has {', '.join(sorted(known))}")
    guessed = _guessed(guess) if guess is not None and guess.task == task else {}
    for columns in sorted(TASKS[task].columns, key=lambda each: set(each) != set(guessed)):
        found = {field: given.get(field, guessed.get(field)) for field in columns}
        if set(given) <= set(columns) and all(found.values()):
            return {field: name for field, name in found.items() if name is not None}
    wanted = " or ".join(" and ".join(columns) for columns in TASKS[task].columns)
    raise InitError(
        f"{file.path}: {task} needs the columns {wanted}; name them by --text, --label or --column FIELD=NAME"
    )


def _show(file: DataFile, guess: Guess | None) -> None:
    about = "about " if file.head.n_rows is None else ""
    looked_at = "" if file.head.is_whole else f"; the first {len(file.head.rows):,} are looked at"
    say(f"{file.path}: {about}{plural(file.n_rows, 'row')} of {plural(file.head.n_columns, 'column')}{looked_at}")
    if guess is None:
        return
    say(f"  task   {guess.task}  ({_WORDS[guess.confidence]}: {guess.reason})")
    for each in guess.columns:
        say(f"  {each.field:<6} {each.column!r}  ({_WORDS[each.confidence]}: {each.reason})")


def _ask_task(guess: Guess | None, given: Task | None) -> Task:
    if given is not None:
        return given
    while True:
        answer = typer.prompt("task", default=guess.task if guess else None)
        try:
            task = _task(answer)
        except InitError as error:
            say(str(error))
        else:
            assert task is not None
            return task


def _ask_column(file: DataFile, field: str, guessed: str) -> str:
    while (answer := str(typer.prompt(f"column of the {field}", default=guessed))) not in file.head.columns:
        say(f"there is none of that name, only {', '.join(map(repr, file.head.columns[:20]))}")
    return answer


def _ask_for_more(study: NewStudy, *, has_model: bool) -> NewStudy:
    model = study.model if has_model else str(typer.prompt("model", default=study.model))
    if study.test is not None:
        return replace(study, model=model)
    test = str(typer.prompt("file of test rows, if there is one", default="", show_default=False)).strip()
    return replace(study, model=model, test=Path(test).expanduser() if test else None)


def _check_has_columns(path: Path, columns: Mapping[str, str]) -> None:
    names = read_data_file(path).head.columns
    for name in columns.values():
        if name not in names:
            raise InitError(f"{path} has no column {name!r}, only {', '.join(map(repr, names[:20]))}")


def _check(study: NewStudy) -> None:
    """Refuse what a service would refuse of the fields that a person has given."""
    StudySpec.model_validate(
        {
            "name": study.name,
            "task": study.task,
            "model": {"name": study.model},
            "data": {
                "train": str(study.train),
                "columns": dict(study.columns),
                "label_separator": study.label_separator,
            },
            "preset": study.preset,
        },
        context=POSTED,
    )


def _write(output: Path, text: str) -> None:
    """Write a file wholly or not at all: half a study would be taken for one, and what was there is kept."""
    part = output.with_name(f".{output.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InitError(f"{output} cannot be written: {error.strerror}; --output NAME writes elsewhere") from None


def _written(study: NewStudy, output: Path) -> WrittenStudy:
    return WrittenStudy(
        file=str(output),
        name=study.name,
        task=study.task,
        columns=dict(study.columns),
        model=study.model,
        preset=study.preset,
        next_command=_next_command(study, output),
    )


def _next_command(study: NewStudy, output: Path) -> str:
    """Return the command that runs a study, with the folders of data that do not lie below that of its file."""
    folder = Path(os.path.abspath(output)).parent
    files = [Path(os.path.abspath(path)) for path in (study.train, study.validation, study.test) if path is not None]
    elsewhere = dict.fromkeys(str(each.parent) for each in files if not each.is_relative_to(folder))
    return next_command("run", output, *(word for each in elsewhere for word in ("--data-root", each)))
