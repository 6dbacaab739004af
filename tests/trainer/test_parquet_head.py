"""The beginning of Parquet files, honest ones and crafted ones."""

import json
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from spezia.common.guess_columns import preview
from spezia.common.table_head import HEAD_BYTES, MAX_COLUMNS, read_parquet_lines
from spezia.contract.parquet_head import MAX_LINES
from trainer import parquet_head
from trainer.parquet_head import BadParquet, read_parquet_head
from trainer.supervisor import read_parquet_head as supervised


def write(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "table.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in read_parquet_head(path).lines.split("\n")]


def test_the_first_rows_are_read_and_guessed_as_those_of_other_tables(tmp_path: Path) -> None:
    n_rows = 5000
    texts = [f"what a film that was {number}" for number in range(n_rows)]
    found = read_parquet_head(write(tmp_path, {"review": texts, "stars": [n % 3 for n in range(n_rows)]}))
    head = read_parquet_lines(found)
    assert (head.format, head.columns, head.n_rows, head.is_whole) == ("parquet", ["review", "stars"], n_rows, False)
    assert 0.9 * HEAD_BYTES < len(found.lines) < HEAD_BYTES or len(head.rows) == parquet_head.MAX_ROWS
    assert head.rows[:2] == [[texts[0], 0], [texts[1], 1]]
    guess = preview(head).guess
    assert guess is not None
    assert {each.field: each.column for each in guess.columns} == {"text": "review", "label": "stars"}


def test_a_small_file_is_shown_whole(tmp_path: Path) -> None:
    head = read_parquet_lines(read_parquet_head(write(tmp_path, {"text": ["a", "ü"], "label": [None, "b"]})))
    assert (head.rows, head.is_whole) == ([["a", None], ["ü", "b"]], True)


def test_values_of_all_types_become_json(tmp_path: Path) -> None:
    columns = {
        "binary": [b"abc"],
        "number": [float("nan")],
        "date": [date(2026, 11, 27)],
        "decimal": [Decimal("1.50")],
        "text": ["a" * 5000],
        "list": [list(range(500))],
        "messages": [[{"role": "user", "content": "hi", "name": None}]],
        "map": pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        "null": pyarrow.nulls(1),
    }
    [row] = rows_of(write(tmp_path, columns))
    assert row["text"] == "a" * (parquet_head.MAX_CHARACTERS - 1) + "…"
    assert row["list"] == list(range(parquet_head.MAX_ELEMENTS))
    assert row["messages"] == [{"role": "user", "content": "hi"}]
    assert [row[name] for name in ("binary", "number", "date", "decimal", "map", "null")] == [
        "3 bytes", None, "2026-11-27", "1.50", [["a", 1]], None,
    ]  # fmt: skip


def test_numbers_of_classes_become_their_names(tmp_path: Path) -> None:
    features = {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    table = pyarrow.table({"label": [1, 0]})
    named = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(named, tmp_path / "named.parquet")
    assert rows_of(tmp_path / "named.parquet") == [{"label": "good"}, {"label": "bad"}]


def test_columns_and_a_first_row_beyond_all_bounds_are_cut(tmp_path: Path) -> None:
    wide = read_parquet_head(write(tmp_path, {f"column{number}": ["a" * 2000] for number in range(300)}))
    assert (wide.n_columns, len(wide.lines)) == (300, MAX_LINES)
    assert wide.lines.count('"column') <= MAX_COLUMNS


def test_a_row_group_of_any_size_is_read_page_by_page(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": [f"{number:x}" * 10 for number in range(500_000)]}, row_group_size=500_000)
    before = pyarrow.default_memory_pool().max_memory()
    assert read_parquet_head(path).n_rows == 500_000
    assert pyarrow.default_memory_pool().max_memory() - before < 8 << 20


@pytest.mark.parametrize("content", [b"PAR1" + b"?" * 90 + b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1"])
def test_what_is_no_parquet_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.parquet").write_bytes(content)
    with pytest.raises(BadParquet, match=r"is not a readable Parquet file: [^;]+; write it again"):
        read_parquet_head(tmp_path / "broken.parquet")


def test_deep_nesting_is_cut_or_refused(tmp_path: Path) -> None:
    def nested(depth: int) -> Path:
        kind, value = pyarrow.string(), "x"
        for _ in range(depth):
            kind, value = pyarrow.list_(kind), [value]
        return write(tmp_path, {"deep": pyarrow.array([value], kind)})

    [row] = rows_of(nested(20))
    assert json.dumps(row).count("[") == parquet_head.MAX_DEPTH
    with pytest.raises(BadParquet, match="nested"):
        read_parquet_head(nested(300))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
def test_a_small_file_of_a_giant_value_ends_at_the_bound_of_memory(tmp_path: Path) -> None:
    bomb = write(tmp_path, {"text": ["a" * (48 << 20)]}, compression="zstd", use_dictionary=False)
    assert bomb.stat().st_size < 64 << 10
    code = "from trainer import parquet_head as it; it.MAX_BYTES = 120 << 20; it.main()"
    outcome = supervised.read_parquet_head(bomb, [sys.executable, "-P", "-c", code])
    assert outcome.problem is not None
    assert outcome.problem.startswith("needs more than 120 MiB of memory")


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('{')", "import time; time.sleep(600)"])
def test_a_reader_that_dies_or_hangs_is_a_problem_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(supervised, "MAX_SECONDS", 0.5)
    outcome = supervised.read_parquet_head(tmp_path, [sys.executable, "-I", "-c", code])
    assert outcome.head is None
    assert outcome.problem is not None
    assert "write it again" in outcome.problem
