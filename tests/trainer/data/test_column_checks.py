"""Which columns of a table are read, where the study leaves that to the table."""

import re

import pytest

from spezia.contract.tasks import TASKS
from trainer.data.column_checks import Columns, choose_columns, column_choices
from trainer.errors import DataError

TEXTS = TASKS["text-classification"].columns
WRITTEN = TASKS["causal-lm"].columns
BY_DEFAULT = {"text": "text", "label": "label"}
PAIRED = BY_DEFAULT | {"text_pair": "text_pair"}


@pytest.mark.parametrize(
    ("sets", "named", "names", "read"),
    [
        (TEXTS, BY_DEFAULT, ["text", "label", "id"], BY_DEFAULT),
        (TEXTS, BY_DEFAULT, ["text", "label", "text_pair"], PAIRED),
        (TEXTS, BY_DEFAULT | {"label": "gold"}, ["text", "gold", "text_pair"], PAIRED | {"label": "gold"}),
        (TEXTS, BY_DEFAULT | {"text": "body"}, ["body", "label", "text_pair"], BY_DEFAULT | {"text": "body"}),
        (WRITTEN, {"text": "text"}, ["text", "prompt", "completion"], {"text": "text"}),
        (WRITTEN, {"text": "text"}, ["prompt", "completion"], {"prompt": "prompt", "completion": "completion"}),
    ],
)
def test_the_table_decides_where_the_column_of_the_inputs_is_not_named(
    sets: tuple[tuple[str, ...], ...], named: Columns, names: list[str], read: Columns
) -> None:
    assert choose_columns("a.csv", names, column_choices(sets, named)) == read


@pytest.mark.parametrize(
    ("sets", "named", "names", "message"),
    [
        (TEXTS, BY_DEFAULT, ["text", "text_pair", "labels"], "no column 'label', only 'text', 'text_pair', 'labels'"),
        (TEXTS, BY_DEFAULT, ["text", "labels"], "no column 'label', only 'text', 'labels'; set data.columns.label"),
        (
            WRITTEN,
            {"text": "text"},
            ["txt"],
            "no column 'text', only 'txt'; set data.columns.text; did you mean 'txt'?",
        ),
        (WRITTEN, {"text": "text"}, ["prompt", "answer"], "no column 'completion', only 'prompt', 'answer'"),
        (TEXTS, BY_DEFAULT, ["text", "label", "text"], "2 columns 'text'; rename all but one"),
    ],
)
def test_what_is_missing_is_named_for_the_nearest_choice(
    sets: tuple[tuple[str, ...], ...], named: Columns, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(f"a.csv has {message}")):
        choose_columns("a.csv", names, column_choices(sets, named))
