"""Tables of texts and labels, written and read again."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from spezia.contract.data import Data
from trainer.data.read_splits import read_splits, read_table
from trainer.data.rows import Rows, Splits
from trainer.tasks.text_classification import TextClassification

GOOD = [("a b", "x"), ("c d", "y"), ("e f", "x"), ("g h", "y")]
"""Texts and labels of two classes."""


def read(root: Path, *, seed: int = 0, roots: list[Path] | None = None, **data: Any) -> Splits[str, str]:
    columns = {"text": "text", "label": "label"} | data.pop("columns", {})
    named = Data.model_validate({"train": "train.csv", "columns": columns} | data)
    folders = [root] if roots is None else roots
    table = read_table(named.train, [named.columns], folders)
    return read_splits(TextClassification(), named, table, seed=seed, roots=folders)


def write(root: Path, content: str | bytes, name: str = "train.csv") -> None:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def write_jsonl(root: Path, rows: list[Any], name: str = "train.jsonl") -> None:
    write(root, "".join(json.dumps(row) + "\n" for row in rows), name)


def write_parquet(root: Path, columns: dict[str, Any], name: str = "train.parquet") -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), root / name)


def pairs(rows: Rows[str, str]) -> list[tuple[str, str]]:
    return list(zip(rows.inputs, rows.targets, strict=True))
