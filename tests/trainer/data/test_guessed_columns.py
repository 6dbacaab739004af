"""What a preview guesses of a table is what the trainer reads of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spezia.common.guess_columns import preview
from spezia.common.table_head import BadTable, read_head
from spezia.contract.data import Data
from spezia.contract.tasks import TASKS
from tests.spezia.common.test_guess_columns import CASES
from trainer.data.column_checks import column_choices
from trainer.data.table_files import parse_file
from trainer.errors import DataError
from trainer.tasks.registry import choose_task


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("images", "decimal commas")])
def test_every_row_of_a_guessed_table_can_be_trained_on(name: str) -> None:
    content, task, columns = CASES[name]
    form = "jsonl" if content.startswith(b"{") else "csv"
    head = read_head(content, form)
    guess = preview(head).guess
    assert guess is not None
    table = parse_file(f"train.{form}", content, column_choices(TASKS[task].columns, dict(columns)))
    assert list(table.values) == list(columns)
    for field, values in table.values.items():
        assert values == head.values(head.columns.index(columns[field]))
    data = Data(train="train", columns=dict(columns), label_separator=guess.label_separator)
    rules = choose_task(task, data, table.values)
    for row in zip(*table.values.values(), strict=True):
        rules.check_row(dict(zip(table.values, row, strict=True)))


_CELLS = st.text(st.sampled_from('ab \n\r,;"|\tü'), max_size=6)
_TABLES = st.lists(st.tuples(_CELLS, _CELLS), max_size=4)


@given(_TABLES, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
def test_rows_are_those_of_the_trainer(
    rows: list[tuple[str, str]], separator: str, newline: str, is_quoted: bool, is_ended: bool
) -> None:
    def cell(value: str) -> str:
        return '"' + value.replace('"', '""') + '"' if is_quoted else value

    lines = [separator.join(map(cell, row)) for row in [("text", "label"), *rows]]
    content = (newline.join(lines) + newline * is_ended).encode()
    try:
        read = parse_file("train.csv", content, [{"text": "text", "label": "label"}]).values
    except DataError:
        read = None
    try:
        head = read_head(content, "csv")
    except BadTable:
        head = None
    assert (read is None) == (head is None)
    if read is not None and head is not None:
        assert head.rows == [[text, label] for text, label in zip(read["text"], read["label"], strict=True)]
