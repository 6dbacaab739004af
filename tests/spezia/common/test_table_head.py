"""The beginning of tables: any bytes are a table or refused with advice, as they are by the trainer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spezia.common.guess_columns import preview
from spezia.common.table_head import HEAD_BYTES, MAX_COLUMNS, BadTable, TextFormat, read_head
from spezia.contract.preview import Preview
from spezia.contract.tasks import TASKS, Task

_PIECES = st.sampled_from(
    [b"text", b"label", b",", b";", b"\t", b"|", b"\n", b"\r", b'"', b"sep=", b"{", b"}", b"[", b"]", b":", b'"text"',
     b"1", b"0.5", b"1,5", b" ", "\u00fc".encode(), b"\xff", b"\xef\xbb\xbf", b"null", b"NaN", b"a.jpg", b"\\ud83d",
     b"9" * 5000]
)  # fmt: skip
ANY_BYTES = st.binary(max_size=200) | st.lists(_PIECES, max_size=60).map(b"".join)


@given(ANY_BYTES, st.sampled_from(["csv", "jsonl"]), st.sampled_from([None, *TASKS]))
@example(b"[" * 60_000, "jsonl", None)
@example(b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n", "jsonl", None)
@example(b'sep="\na"b\n', "csv", None)
@example(b'a;b\n"', "csv", None)
@example(b"a\n;", "csv", None)
@example(b"," * HEAD_BYTES, "csv", None)
@example(b"".join(b'{"a%d": 1}\n' % number for number in range(200)), "jsonl", None)
@example(b'{"a": 1}\n' * 7000 + b'{"b": 1}\n', "jsonl", None)
def test_any_bytes_are_a_table_or_refused_with_a_reason(content: bytes, form: TextFormat, task: Task | None) -> None:
    try:
        head = read_head(content, form)
    except BadTable as bad:
        reason = str(bad)
    else:
        found = preview(head, task)
        assert Preview.model_validate_json(found.model_dump_json()) == found
        assert all(len(row) == len(found.columns) <= MAX_COLUMNS for row in found.rows)
        assert (found.guess is None) != (found.no_guess is None)
        return
    assert reason.split(" ")[0] in ("is", "has", "holds", "begins", "cannot")


@pytest.mark.parametrize(
    ("content", "form", "message"),
    [
        (b"", "csv", "is empty"),
        (b" \n\n", "csv", "is empty"),
        (b"\x1f\x8b\x08rest", "csv", "is a gzip file"),
        (b"PAR1....PAR1", "csv", "is a Parquet file"),
        (b"a,b\n\0,1\n", "csv", "is binary"),
        ("a,b\n1,2\n".encode("utf-16"), "csv", "is UTF-16; save it as UTF-8"),
        (b"text,label\nna\xefve,good\n", "csv", "line 2: byte 13 (0xef) is not UTF-8"),
        (b"text,label\na,b\nwell, then,c\n", "csv", "row 2 has 3 values, where the header names 2 columns"),
        (b"sep=;\n", "csv", "nothing else"),
        (b"x" * HEAD_BYTES, "csv", "first line of more than 64 KiB"),
        (b'[{"text": 1}]\n', "jsonl", "not an object"),
        (b'[\n{"text": 1}]\n', "jsonl", "not one array"),
        (b'{"text": 1}\n{"text": \n', "jsonl", "line 2: not JSON"),
        (b'{"text": "' + b"x" * HEAD_BYTES, "jsonl", "first line of more than 64 KiB"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(content: bytes, form: TextFormat, message: str) -> None:
    with pytest.raises(BadTable) as refused:
        read_head(content, form)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"text,label\na,b\n", ","),
        (b"text;label\na, then;b\n", ";"),
        (b"text\tlabel\na;b\tb\n", "\t"),
        (b"text|label\na|b\n", "|"),
        (b"sep=#\ntext#label\na#b\n", "#"),
        (b'"sep=;"\r\ntext;label\r\na;b\r\n', ";"),
        (b"\xef\xbb\xbftext,label\ra,b\r", ","),
    ],
)
def test_the_separator_is_found_as_the_trainer_finds_it(content: bytes, separator: str) -> None:
    head = read_head(content, "csv")
    assert (head.separator, head.columns, len(head.rows)) == (separator, ["text", "label"], 1)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_last_line_is_left_out_where_it_is_cut(form: TextFormat) -> None:
    row = '{"text": "über alles", "label": "gut"}\n' if form == "jsonl" else '"über,\nalles",gut\n'
    header = "" if form == "jsonl" else "text,label\n"
    content = (header + row * 4000).encode()
    for n_more in range(40):  # the cut moves through a whole row, the bytes of the umlaut among them
        head = read_head(b"x" * n_more + content if form == "csv" else b" " * n_more + content, form)
        assert not head.is_whole
        assert {tuple(values) for values in head.rows} == {("über alles" if form == "jsonl" else "über,\nalles", "gut")}
        assert 0 <= HEAD_BYTES - len(header) - n_more - len(head.rows) * len(row.encode()) <= 2 * len(row.encode())


def test_a_jsonl_column_may_be_absent_from_the_first_row() -> None:
    head = read_head(b'{"a": 1}\n\n{"b": [2], "a": 3}\n', "jsonl")
    assert (head.columns, head.rows) == (["a", "b"], [[1, None], [3, [2]]])


def test_texts_of_several_lines_and_quotes_are_whole() -> None:
    head = read_head(b'text,label\n"two\nlines, and ""quotes""",good\n\n', "csv")
    assert head.rows == [['two\nlines, and "quotes"', "good"]]
