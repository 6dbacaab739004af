"""docs/study-file.md is written from the contract: `python -m tests.test_study_file_page` writes it anew."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spezia.contract.study_spec import StudySpec

PAGE = Path(__file__).parent.parent / "docs" / "study-file.md"
INTRODUCTION = """\
# The study file

Every field of a study: what it is, what it may be, what it is when you leave it out. This page is written from
`spezia/contract/study_spec.py`, by which studies are checked. The same fields are the body of `POST /v1/studies`, and
`/docs` of a service has them as a schema; `spezia init DATA.csv` writes a file to begin with, with these words as
comments, and `spezia validate FILE` checks one without starting it.

A study of your own needs five lines:

```yaml
task: text-classification
model: sentence-transformers/all-MiniLM-L6-v2
data: reviews.csv
preset: small-encoder-small-data
fixed: {epochs: 20}
```

**A file is YAML 1.2 or JSON.** `1e-5` is a number and `no` a text. An unknown field is refused, with the field that was
probably meant. Relative paths are relative to the file, and `~` is your home.

**A file may be shorter than the API's body** where only one thing can be meant: a text stands for `{name: …}` of a
model, sampler or pruner, for `{train: …}` of data and for `{metric: …}` of an objective; a list stands for a
categorical range, and `{low: 2, high: 6}` for a range of numbers.
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: fields of the study that belong together."""

    title: str
    fields: tuple[str, ...]
    example: str
    parts: Mapping[str, str]
    """Titles of tables of the fields of a field, by the names of their models."""
    more: str = ""
    """Where to read on."""


SECTIONS = (
    Section(
        title="What is trained",
        fields=("name", "task", "model", "data", "script"),
        example="""\
name: intents
task: text-classification
model: {name: sentence-transformers/all-MiniLM-L6-v2}
data:
  train: train.csv
  test: test.csv
  columns: {text: message, label: intent}
""",
        parts={"Model": "model", "Data": "data"},
        more="[Tasks](tasks.md) lists the columns and metrics of each task; [data and models](data-and-models.md) says "
        "what is accepted, warned of and refused.",
    ),
    Section(
        title="What is best",
        fields=("objective", "constraints", "target_value"),
        example="""\
objective: {metric: accuracy}
constraints:
  - {metric: generalization_gap, at_most: 0.3}
""",
        parts={"Objective": "objective", "Constraint": "an entry of constraints"},
        more="[Objectives](objectives.md) tells of several at once and their Pareto front.",
    ),
    Section(
        title="What is searched",
        fields=("preset", "search_space", "fixed"),
        example="""\
preset: encoder-small-data
search_space:
  learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}
  batch_size: {type: categorical, choices: [16, 32]}
  method: [full, lora]
  lora_rank: {type: int, low: 4, high: 64, log: true, when: {method: lora}}
fixed: {weight_decay: 0.01, epochs: 10}
""",
        parts={"FloatRange": "a float range", "IntRange": "an int range", "Choices": "a categorical range"},
        more="[Hyperparameters](hyperparameters.md) lists all names with their bounds and defaults, "
        "[presets](presets.md) the ranges that published recipes give.",
    ),
    Section(
        title="What is tried first",
        fields=("baseline", "enqueue", "warm_start"),
        example="""\
enqueue:
  - {learning_rate: 3e-4}
warm_start: auto
""",
        parts={},
        more="[Warm starts](warm-start.md) tells how earlier studies are chosen.",
    ),
    Section(
        title="How it is searched",
        fields=("sampler", "pruner", "seed"),
        example="""\
sampler: {name: tpe, options: {n_startup_trials: 6}}
pruner: {name: median, options: {n_warmup_steps: 1}}
""",
        parts={},
        more="Names and defaults are [Optuna's](https://optuna.readthedocs.io/en/stable/reference/index.html), but for "
        "the sampler `multi-fidelity` and the pruner `rungs` ([rungs](rungs.md)).",
    ),
    Section(
        title="How much",
        fields=("n_trials", "n_parallel", "timeout_seconds", "device_seconds"),
        example="""\
n_trials: 40
device_seconds: 3600
""",
        parts={},
        more="[Cost](cost.md) tells what a study says beforehand of what it will take. `spezia extend` "
        "changes these four.",
    ),
    Section(
        title="How a trial is trained",
        fields=("training",),
        example="""\
training: {evaluations_per_epoch: 4, early_stopping_patience: 8, keep_models: 3}
""",
        parts={"Training": "training"},
    ),
    Section(
        title="Before and after the search",
        fields=("start_small", "confirm"),
        example="""\
start_small: {fraction: 0.1, trials: 4}
confirm: {top: 3, seeds: 3}
""",
        parts={"StartSmall": "start_small", "Confirm": "confirm"},
        more="[An honest winner](confirm.md) tells what a confirmation says.",
    ),
)

SCHEMA = StudySpec.model_json_schema()
WORDS = {
    "columns": "names of columns, by the names that the task has for them",
    "choices": "list of 1 to 64 values",
    "constraints": "list of at most 8 constraints",
    "enqueue": "list of values by name",
    "warm_start": "`auto`, `none` or list of 1 to 8 names",
    "when": "values, or lists of values, by the names of at most 8 other parameters",
    "search_space": "ranges by name, at most 64 names; several ranges of a name in a list",
    "objective": "an objective, or a list of 2 to 4",
    "sampler": "a [sampler](#samplers)",
    "pruner": "a [pruner](#pruners)",
    "training": "see [below](#training)",
}
"""Types of fields that the schema says at length."""
_SIMPLE = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "null": "`null`",
}


def page() -> str:
    """Return the page as the contract has it."""
    return "\n".join(
        [INTRODUCTION, *map(_section, SECTIONS), *_choice("Samplers", "sampler"), *_choice("Pruners", "pruner")]
    )


def _section(section: Section) -> str:
    shown = _table({name: SCHEMA["properties"][name] for name in section.fields}, SCHEMA.get("required", []))
    parts = [
        line for model, title in section.parts.items() for line in (f"### {title}", "", *_table_of_model(model), "")
    ]
    more = [section.more, ""] if section.more else []
    return "\n".join([f"## {section.title}", "", "```yaml", section.example + "```", "", *shown, "", *parts, *more])


def _table_of_model(name: str) -> list[str]:
    model = SCHEMA["$defs"][name]
    return _table(model["properties"], model.get("required", []))


def _table(fields: Mapping[str, dict[str, Any]], required: list[str]) -> list[str]:
    in_order = dict(sorted(fields.items(), key=lambda field: field[0] == "when"))  # of a range the condition comes last
    head = ["| field | is | when absent | meaning |", "|---|---|---|---|"]
    return head + [
        f"| `{name}` | {WORDS.get(name) or _type(field)} | {_default(name, field, required)} | {_meaning(field)} |"
        for name, field in in_order.items()
    ]


def _choice(title: str, name: str) -> list[str]:
    """Return the section of the samplers or pruners: what each does, and its options."""
    lines = [f"## {title}", ""]
    for reference in SCHEMA["properties"][name]["oneOf"]:
        model = _model(reference["$ref"])
        options = _model(model["properties"]["options"]["$ref"])
        table = ["", *_table(options["properties"], options.get("required", []))] if options["properties"] else []
        lines += [f"### {model['properties']['name']['const']}", "", _plain(model["description"]), *table, ""]
    return lines


def _model(reference: str) -> dict[str, Any]:
    model: dict[str, Any] = SCHEMA["$defs"][reference.rpartition("/")[2]]
    return model


def _type(field: dict[str, Any]) -> str:
    """Say in words what a field may hold."""
    if "anyOf" in field:
        # of a field that is null unless it is given, nobody needs to say so
        hidden = {"type": "null"} if field.get("default") is None else None
        return _one_of([_type(one) for one in field["anyOf"] if one != hidden])
    if "oneOf" in field:
        return _one_of([_type(one) for one in field["oneOf"]])
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        titles = {model: title for section in SECTIONS for model, title in section.parts.items()}
        return f"see [below](#{titles[name].replace(' ', '-')})"
    if "enum" in field or "const" in field:
        return _one_of([f"`{value}`" for value in field.get("enum", [field.get("const")])])
    if field.get("type") == "array":
        return f"list{_length(field.get('minItems', 0), field['maxItems'])} of {_type(field['items'])}"
    if field.get("type") == "object":
        return f"{_type(field['additionalProperties'])}s by name"
    return _SIMPLE[field["type"]] + _bounds(field)


def _one_of(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    if words == ["true or false", "whole number", "number", "text"]:
        return "value"
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)


def _length(fewest: int, most: int) -> str:
    return f" of {fewest} to {most:,}" if fewest else f" of at most {most:,}"


def _bounds(field: dict[str, Any]) -> str:
    if field.get("pattern", "").startswith("^[a-z0-9]"):
        return " of 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`"
    if field.get("maxLength", 1000) < 200:
        return f" of at most {field['maxLength']} characters"
    low, high = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    words = [
        *([f"{_number(low)} or more"] if low is not None and high is None else []),
        *([f"{_number(low)} to {_number(high)}"] if low is not None and high is not None else []),
        *([f"above {_number(above)}"] if above is not None else []),
        *([f"at most {_number(high)}"] if high is not None and low is None else []),
        *([f"below {_number(below)}"] if below is not None else []),
    ]
    return f", {', '.join(words)}" if words else ""


def _number(value: float) -> str:
    for name, known in (("2⁵³", 2**53), ("−2⁵³", -(2**53)), ("2³¹", 2**31), ("2³¹ − 1", 2**31 - 1)):
        if value == known:
            return name
    if abs(value) >= 1e9:
        return f"{value:.0e}".replace("e+", "e").replace("e0", "e")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default(name: str, field: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    default = field.get("default")
    if default is None or default in ({}, []) or name == "training":
        return ""
    if isinstance(default, dict):  # of a sampler, a pruner or an objective its name alone
        default = default.get("name", default.get("metric"))
    if isinstance(default, float):
        return f"`{default:.3g}`"
    if isinstance(default, int) and not isinstance(default, bool) and default >= 2**30:
        return f"{default / 2**30:g} GiB"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _meaning(field: dict[str, Any]) -> str:
    # of the search space the list of all hyperparameters follows, which has a page of its own
    return _plain(field["description"].partition(" A script's params")[0].partition("\n\n")[0])


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "`").strip()


def test_the_page_is_in_step_with_the_contract() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.test_study_file_page`"


def test_every_field_of_a_study_has_its_row_once() -> None:
    assert sorted(name for section in SECTIONS for name in section.fields) == sorted(SCHEMA["properties"])


def test_every_model_of_a_study_has_its_table() -> None:
    shown = page()
    for name, model in SCHEMA["$defs"].items():
        for field, described in model["properties"].items():
            if name.endswith(("Sampler", "Pruner")) and field in ("name", "options"):
                continue
            assert f"| `{field}` | {WORDS.get(field) or _type(described)} |" in shown, (name, field)


def test_every_field_says_what_it_means_in_whole_sentences() -> None:
    for model in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, field in model["properties"].items():
            assert re.match(r"[A-Z].*[.:]$", _plain(field["description"]), flags=re.DOTALL) or name == "search_space"


if __name__ == "__main__":
    PAGE.write_text(page())
