"""What a task cannot train on is refused by file and row, and says what to do."""

import re
from typing import Any

import pytest

from tests.trainer.written_rows import MULTI, NUMBERS, PROMPTED, PROMPTS, SINGLE, TAGGED, TEXTS, PrepareRows, Rows
from trainer.errors import DataError


@pytest.mark.parametrize(
    ("task", "train", "overrides", "message"),
    [
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": "calm"}],
            {},
            "row 7: the label 'calm' is no list of classes, as other rows have; write a list in every row",
        ),
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": ["calm", "calm"]}],
            {},
            "row 7: a class is listed twice in ['calm', 'calm']; list each once",
        ),
        (
            "text-classification",
            [*MULTI, {"text": "a", "label": [1.5]}],
            {},
            "row 7: the label 1.5 is neither a name nor a whole number",
        ),
        (
            "text-classification",
            [{"text": "a", "label": []}] * 3,
            {},
            "train.jsonl holds no class; a classifier needs at least 1: check data.columns",
        ),
        (
            "text-classification",
            [{"text": "a", "label": "calm"}, {"text": "b", "label": ["calm"]}],
            {},
            "row 2: the label ['calm'] is neither a name nor a whole number; write class names",
        ),
        ("text-regression", [*NUMBERS, {"text": "a", "label": "many"}], {}, "row 7: the label 'many' is not a number"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": True}], {}, "row 7: the label True is not a number"),
        ("text-regression", [*NUMBERS, {"text": "a", "label": [1]}], {}, "row 7: the label [1] is not a number"),
        (
            "text-regression",
            [*NUMBERS, {"text": "a", "label": "nan"}],
            {},
            "row 7: the label 'nan' is too large for single precision, or not finite",
        ),
        (
            "text-regression",
            [*NUMBERS, {"text": "a", "label": 1e39}],
            {},
            "row 7: the label 1e+39 is too large for single precision, or not finite",
        ),
        ("text-regression", [*NUMBERS, {"text": "a", "label": " "}], {}, "row 7: there is no label; fill it in"),
        ("text-regression", [*NUMBERS, {"text": "a"}], {}, "row 7: there is no label; fill it in"),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a", "b"], "tags": ["O"]}],
            {},
            "row 7: it has 2 tokens and 1 tag; give each token one tag",
        ),
        ("token-classification", [*TAGGED, {"tokens": "a b", "tags": ["O"]}], {}, "row 7: tokens is 'a b', not a list"),
        ("token-classification", [*TAGGED, {"tokens": ["a"]}], {}, "row 7: there are no tags; give a list of tags"),
        ("token-classification", [*TAGGED, {"tokens": [], "tags": []}], {}, "row 7: there are no tokens; fill them in"),
        ("token-classification", [*TAGGED, {"tokens": [7], "tags": ["O"]}], {}, "row 7: the token is 7, not a string"),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a"], "tags": [None]}],
            {},
            "row 7: there is no tag; fill it in",
        ),
        (
            "token-classification",
            [*TAGGED, {"tokens": [" "], "tags": ["O"]}],
            {},
            "row 7: no word becomes a token of the model; correct or remove the row",
        ),
        (
            "token-classification",
            [*TAGGED, {"tokens": ["a"], "tags": [0.5]}],
            {},
            "row 7: the tag 0.5 is neither a name nor a whole number; write class names",
        ),
        ("token-classification", [*TAGGED, {"tokens": ["a"], "tags": "O"}], {}, "row 7: tags is 'O', not a list"),
        ("token-classification", [{"tokens": ["a"], "tags": ["O"]}] * 3, {}, "train.jsonl holds one class only, 'O'"),
        (
            "token-classification",
            [{"tokens": ["word1", "word2"], "tags": [1, 0]}] * 3,
            {},
            "train.jsonl: its classes are numbers (0, 1), so nobody can tell which of them begin a span",
        ),
        ("causal-lm", [*TEXTS, {"text": None}], {}, "row 7: there is no text; fill it in or remove the row"),
        ("causal-lm", [*TEXTS, {"text": 7}], {}, "row 7: the text is 7, not a string; fill it in or remove the row"),
        (
            "causal-lm",
            [*PROMPTS, {"prompt": "a", "completion": ["b"]}],
            PROMPTED,
            "row 7: the completion is ['b'], not a string; fill it in or remove the row",
        ),
        ("causal-lm", [*PROMPTS, {"prompt": "a"}], PROMPTED, "row 7: there is no completion; fill it in"),
        ("causal-lm", TEXTS, PROMPTED, "train.jsonl has no column 'prompt', only 'text'; set data.columns.prompt"),
        (
            "causal-lm",
            [*PROMPTS, {"prompt": "word1 " * 40, "completion": "word2"}, {"prompt": "word1 " * 50, "completion": "b"}],
            PROMPTED | {"data": PROMPTED["data"] | {"validation": "train.jsonl"}},
            "train.jsonl, row 7 (and 1 row more): within data.max_length = 32 tokens nothing is left to learn from",
        ),
        (
            "causal-lm",
            TEXTS[:1],
            {},
            "row 1: the only example, so a validation split cannot be drawn; add a second one",
        ),
    ],
)
def test_bad_rows_are_refused_by_row(
    prepare_rows: PrepareRows, task: str, train: Rows, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        prepare_rows(task, train, **overrides)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("task", "good", "bad", "overrides"),
    [
        ("token-classification", TAGGED, {"tokens": [" "], "tags": ["O"]}, {}),
        ("causal-lm", PROMPTS, {"prompt": "word1 " * 40, "completion": "word2"}, PROMPTED),
    ],
)
def test_a_row_keeps_its_number_when_a_validation_split_is_drawn(
    prepare_rows: PrepareRows, task: str, good: Rows, bad: dict[str, Any], overrides: dict[str, Any], seed: int
) -> None:
    with pytest.raises(DataError, match=r"^train\.jsonl, row 9: "):
        prepare_rows(task, [*good, *good[:2], bad, *good], seed=seed, **overrides)


@pytest.mark.parametrize(
    ("task", "train", "validation"),
    [
        ("text-classification", SINGLE, [{"text": "a", "label": "gald"}]),
        ("text-classification", MULTI, [{"text": "a", "label": ["calm", "gald"]}]),
        ("token-classification", TAGGED, [{"tokens": ["a"], "tags": ["gald"]}]),
    ],
)
def test_a_class_that_train_does_not_know_is_refused_by_row(
    prepare_rows: PrepareRows, task: str, train: Rows, validation: Rows
) -> None:
    message = r"validation\.jsonl, row 1: the label 'gald' does not occur in train\.jsonl"
    with pytest.raises(DataError, match=message):
        prepare_rows(task, train, validation)
