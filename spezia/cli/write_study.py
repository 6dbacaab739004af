"""A study file as a person would write it: short, with a comment on each field in the words of the contract."""

import json
import os
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spezia.common.first_choices import EPOCHS, N_TRIALS
from spezia.contract.data import Data
from spezia.contract.described import Described
from spezia.contract.study_spec import Model, StudySpec
from spezia.contract.tasks import Task

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "nan", "inf"}


@dataclass(frozen=True, kw_only=True)
class NewStudy:
    """What a person decides of a study at its beginning."""

    name: str
    """Name of the study."""
    task: Task
    """Task of the study."""
    columns: Mapping[str, str]
    """Name in the data of each column of the task."""
    train: Path
    """File of the training rows."""
    model: str
    """Pretrained model."""
    preset: str
    """Preset of the search space."""
    validation: Path | None = None
    """File of the validation rows."""
    test: Path | None = None
    """File of the test rows."""
    label_separator: str | None = None
    """Text between the classes of a row."""
    reasons: tuple[str, ...] = ()
    """What task and columns were guessed by, a sentence each."""


def study_text(study: NewStudy, output: Path) -> str:
    """Write a study as YAML.

    Args:
        output: the file that it is written for, to whose folder its paths are relative where they lie below it.
    """
    spec, data, model = _Explained(StudySpec), _Explained(Data, "  "), _Explained(Model, "  ")
    paths = {"train": study.train, "validation": study.validation, "test": study.test}
    lines = [
        *_comment("Made by `spezia init`; change what you like. `spezia validate` checks it, `spezia run` runs it."),
        *(line for reason in study.reasons for line in _comment(reason)),
        "",
        *spec("name", quoted(study.name)),
        *spec("task", study.task),
        *spec("model", ""),
        *model("name", quoted(study.model)),
        "",
        *spec("data", ""),
    ]
    for split, path in paths.items():
        if path is None:
            lines += [*data(split, "…", is_commented_out=True)]
        else:
            lines += data(split, quoted(_relative(path, output)))
    lines += data("columns", "{" + ", ".join(f"{one}: {quoted(name)}" for one, name in study.columns.items()) + "}")
    if study.label_separator is not None:
        lines += data("label_separator", quoted(study.label_separator))
    lines += [
        *data("max_length", "…", is_commented_out=True),
        "",
        *spec("objective", "{metric: validation_loss}"),
        *spec("preset", f"{quoted(study.preset)}  # `spezia presets {study.preset}` shows its ranges"),
        *(spec("fixed", f"{{epochs: {EPOCHS[study.preset]}}}") if study.preset in EPOCHS else ()),
        *spec("pruner", "{name: median}"),
        *spec("n_trials", str(N_TRIALS)),
        *spec("seed", "0"),
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a text as a scalar of YAML that is read as the same text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # JSON's string is one of YAML but for characters that YAML wants escaped
    escaped = json.dumps(text, ensure_ascii=False)
    return re.sub(
        r"[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", _escape, escaped
    )


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class _Explained:
    """Writes fields of a model, each behind a comment of what the contract says of it."""

    def __init__(self, model: type[Described], indent: str = "") -> None:
        self._descriptions, self._indent = model.descriptions(), indent

    def __call__(self, name: str, value: str, *, is_commented_out: bool = False) -> list[str]:
        description = self._descriptions.get(name, "").replace("``", "`")
        line = f"{'# ' if is_commented_out else ''}{name}:{' ' * bool(value)}{value}"
        return [*_comment(description, self._indent), f"{self._indent}{line}"]


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _relative(path: Path, output: Path) -> str:
    """Return a path as the study file names it: relative if it lies below the file's folder, else absolute."""
    whole, folder = Path(os.path.abspath(path)), Path(os.path.abspath(output)).parent
    if not whole.is_relative_to(folder):
        return str(whole)
    name = str(whole.relative_to(folder))
    return name if _PLAIN.fullmatch(name) else f"./{name}"  # ~ and hub:// have a meaning of their own
