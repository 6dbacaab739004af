"""What tables seem to be for: realistic ones, by their values first and their names second."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from spezia.common.guess_columns import N_ROWS, preview
from spezia.common.table_head import read_head
from spezia.contract.data import Data, column_errors
from spezia.contract.preview import Preview
from spezia.contract.tasks import Task

_OPENINGS = ("what a film", "never saw the likes of it", "the parcel came late again", "my card was swallowed today")
TEXTS = [f"{_OPENINGS[n % 4]}, and that is sentence number {n} of many" for n in range(40)]
OTHERS = [f"a man sits on bench {n} and reads the paper" for n in range(40)]
TITLES = [f"Item {n} of the catalogue" for n in range(40)]


def table(separator: str = ",", **columns: Sequence[Any]) -> bytes:
    """A CSV file of these columns."""
    file = io.StringIO(newline="")
    rows = csv.writer(file, delimiter=separator)
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().encode()


def lines(**columns: Sequence[Any]) -> bytes:
    """A JSONL file of these columns."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def cycle(*values: Any) -> list[Any]:
    return [values[n % len(values)] for n in range(40)]


def of(content: bytes, task: Task | None = None) -> Preview:
    return preview(read_head(content, "jsonl" if content.startswith(b"{") else "csv"), task)


TEXT_AND_LABEL = {"text": "text", "label": "label"}
CASES: dict[str, tuple[bytes, Task, Mapping[str, str]]] = {
    "sentiment": (table(text=TEXTS, label=cycle("good", "bad")), "text-classification", TEXT_AND_LABEL),
    "banking77": (
        table(text=TEXTS, category=cycle("card_arrival", "lost_card", "exchange_rate")),
        "text-classification",
        {"text": "text", "label": "category"},
    ),
    "a label before its text": (
        table(v1=cycle("ham", "spam"), v2=TEXTS),
        "text-classification",
        {"text": "v2", "label": "v1"},
    ),
    "German, with semicolons": (
        table(";", Nachricht=TEXTS, Kategorie=cycle("Lob", "Tadel")),
        "text-classification",
        {"text": "Nachricht", "label": "Kategorie"},
    ),
    "tabs": (
        table("\t", sentence=TEXTS, label=cycle(0, 1)),
        "text-classification",
        {"text": "sentence", "label": "label"},
    ),
    "bars": (
        table("|", review=TEXTS, sentiment=cycle("+", "-")),
        "text-classification",
        {"text": "review", "label": "sentiment"},
    ),
    "numbers for classes": (table(text=TEXTS, label=cycle(0, 1, 2, 3)), "text-classification", TEXT_AND_LABEL),
    "an index, a date and a label": (
        table(
            **{"": range(40)},
            date=[f"2026-01-{n % 28 + 1:02}" for n in range(40)],
            tweet=TEXTS,
            topic=cycle("a", "b", "c"),
        ),
        "text-classification",
        {"text": "tweet", "label": "topic"},
    ),
    "title and review": (
        table(title=TITLES, review=TEXTS, sentiment=cycle("positive", "negative")),
        "text-classification",
        {"text": "review", "label": "sentiment"},
    ),
    "booleans of JSON": (
        lines(comment=TEXTS, toxic=cycle(True, False)),
        "text-classification",
        {"text": "comment", "label": "toxic"},
    ),
    "pairs of SNLI": (
        table(premise=TEXTS, hypothesis=OTHERS, label=cycle("entailment", "neutral", "contradiction")),
        "text-classification",
        {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    ),
    "pairs of MRPC": (
        lines(sentence1=TEXTS, sentence2=OTHERS, label=cycle(0, 1), idx=range(40)),
        "text-classification",
        {"text": "sentence1", "text_pair": "sentence2", "label": "label"},
    ),
    "pairs called as ours": (
        table(text=TEXTS, text_pair=OTHERS, label=cycle("same", "other")),
        "text-classification",
        {"text": "text", "text_pair": "text_pair", "label": "label"},
    ),
    "pairs with a number": (
        table(sentence1=TEXTS, sentence2=OTHERS, score=[n / 8 for n in range(40)]),
        "text-regression",
        {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
    ),
    "several classes in a list": (
        lines(text=TEXTS, labels=cycle(["sport"], ["news", "sport"], [], ["news"])),
        "text-classification",
        {"text": "text", "label": "labels"},
    ),
    "several classes between bars": (
        table(text=TEXTS, genres=cycle("drama", "drama|crime", "crime|war", "war")),
        "text-classification",
        {"text": "text", "label": "genres"},
    ),
    "fractions": (table(text=TEXTS, label=[n / 7 for n in range(40)]), "text-regression", TEXT_AND_LABEL),
    "decimal commas": (
        table(";", text=TEXTS, label=[f"{n},5" for n in range(40)]),
        "text-regression",
        TEXT_AND_LABEL,
    ),
    "prices": (
        table(description=TEXTS, price=[10 + 37 * n % 101 for n in range(40)]),
        "text-regression",
        {"text": "description", "label": "price"},
    ),
    "classes as floats of JSON": (lines(text=TEXTS, label=cycle(0.0, 1.0)), "text-regression", TEXT_AND_LABEL),
    "names of CoNLL": (
        lines(
            tokens=[text.split() for text in TEXTS],
            ner_tags=[["O"] * (len(text.split()) - 1) + ["B-PER"] for text in TEXTS],
        ),
        "token-classification",
        {"tokens": "tokens", "tags": "ner_tags"},
    ),
    "images": (
        table(file=[f"images/{n}.jpg" for n in range(40)], label=cycle("cat", "dog")),
        "image-classification",
        {"image": "file", "label": "label"},
    ),
    "prompts": (lines(prompt=TEXTS, completion=OTHERS), "causal-lm", {"prompt": "prompt", "completion": "completion"}),
    "Alpaca": (
        lines(instruction=TEXTS, output=OTHERS),
        "causal-lm",
        {"prompt": "instruction", "completion": "output"},
    ),
    "conversations": (
        lines(messages=[[{"role": "user", "content": one}, {"role": "assistant", "content": "yes"}] for one in TEXTS]),
        "causal-lm",
        {"messages": "messages"},
    ),
    "texts alone": (lines(text=TEXTS), "causal-lm", {"text": "text"}),
    "two rows": (b"text,label\nwhat a film,good\nnever again,bad\n", "text-classification", TEXT_AND_LABEL),
    "a head of one class": (table(text=TEXTS, label=["good"] * 40), "text-classification", TEXT_AND_LABEL),
}


@pytest.mark.parametrize("name", CASES)
def test_a_realistic_table_is_guessed(name: str) -> None:
    content, task, columns = CASES[name]
    found = of(content)
    assert found.guess is not None, found.no_guess
    assert (found.guess.task, {each.field: each.column for each in found.guess.columns}) == (task, columns)
    assert found.no_guess is None


@pytest.mark.parametrize("name", CASES)
def test_a_study_takes_the_columns_that_are_guessed(name: str) -> None:
    guess = of(CASES[name][0]).guess
    assert guess is not None
    columns = {each.field: each.column for each in guess.columns}
    assert not column_errors(guess.task, Data(train="a", columns=columns, label_separator=guess.label_separator))


def test_what_separates_several_classes_is_told() -> None:
    guess = of(CASES["several classes between bars"][0]).guess
    assert guess is not None
    assert guess.label_separator == "|"


@pytest.mark.parametrize(
    ("content", "task", "columns"),
    [
        (table(text=TEXTS, stars=cycle(1, 2, 3)), "text-regression", {"text": "text", "label": "stars"}),
        (table(title=TITLES, text=TEXTS, label=cycle("a", "b")), "causal-lm", {"text": "text"}),
        (table(question=TEXTS, answer=cycle("yes", "no")), "causal-lm", {"prompt": "question", "completion": "answer"}),
    ],
)
def test_the_columns_of_a_task_that_is_asked_for_are_guessed(
    content: bytes, task: Task, columns: dict[str, str]
) -> None:
    guess = of(content, task).guess
    assert guess is not None
    assert (guess.task, {each.field: each.column for each in guess.columns}) == (task, columns)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"only\none\ntwo\n", "one column only, 'only'"),
        (table(a=range(40), b=range(40)), "the columns fit no task ('a': number, 'b': number)"),
        (b"text,label\n", "names of columns and no row"),
        (b"text,label\n" + b"x" * 70_000, "no whole row"),
    ],
)
def test_nothing_is_guessed_where_nothing_fits(content: bytes, why: str) -> None:
    found = of(content)
    assert found.guess is None
    assert found.no_guess is not None
    assert why in found.no_guess


def test_a_guess_is_less_sure_without_names() -> None:
    named, unnamed, either = (
        of(table(**columns)).guess
        for columns in (
            {"text": TEXTS, "label": cycle("a", "b")},
            {"c1": TEXTS, "c2": cycle("a", "b")},
            {"c1": TEXTS, "c2": cycle("a", "b"), "c3": cycle("x", "y", "z")},
        )
    )
    assert named is not None
    assert unnamed is not None
    assert either is not None
    assert [each.confidence for each in (named, unnamed, either)] == ["high", "medium", "low"]
    assert "'c2' may be meant as well" in either.columns[1].reason


def test_whole_numbers_that_may_be_amounts_are_guessed_with_a_doubt() -> None:
    guess = of(table(text=TEXTS, rating=cycle(1, 2, 3, 4, 5))).guess
    assert guess is not None
    assert (guess.task, guess.confidence) == ("text-classification", "low")
    assert "text-regression" in guess.columns[1].reason


def test_a_preview_shows_the_first_rows_and_cuts_long_values() -> None:
    found = of(lines(text=["x" * 500] * 30, label=[{"a": 1}] * 30))
    assert (len(found.rows), found.n_rows_read, found.is_whole) == (N_ROWS, 30, True)
    assert found.rows[0] == ["x" * 199 + "…", '{"a": 1}']


def test_what_json_cannot_hold_is_shown_as_text() -> None:
    found = of(b'{"text": "half \\ud83d", "label": NaN, "\\ud83d": null}\n')
    assert found.rows == [["half ?", "NaN", None]]
    assert Preview.model_validate_json(found.model_dump_json()) == found


def test_a_name_that_two_columns_have_is_not_guessed() -> None:
    rows = "".join(
        f"{text.replace(',', '')},{n % 2},{n % 2},{'glum' if n % 3 else 'glad'}\n" for n, text in enumerate(TEXTS)
    )
    guess = of(f"text,label,label,mood\n{rows}".encode()).guess
    assert guess is not None
    assert [each.column for each in guess.columns] == ["text", "mood"]
