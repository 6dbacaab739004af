"""Show the beginning of a Parquet file: write its first rows as lines of JSON, within bounds of time and memory.

`python -P -m trainer.parquet_head FILE` prints a `HeadOutcome`. It is a process of its own, since a crafted file may
want any amount of memory, run for ever, or crash the library that reads it.
"""

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from spezia.common.lazy_module import LazyModule
from spezia.common.parent import end_by_kernel
from spezia.common.table_head import HEAD_BYTES, MAX_COLUMNS
from spezia.contract.parquet_head import MAX_LINES, HeadOutcome, ParquetHead
from trainer.data.numbered_classes import named_values

datasets = LazyModule("datasets")

MAX_ROWS = 1_000
"""Largest number of rows that are shown."""
MAX_CHARACTERS = 2_000
"""Length of the longest text that is shown whole."""
MAX_ELEMENTS = 200
"""Largest number of elements of a list that are shown."""
MAX_DEPTH = 6
"""Number of lists and objects inside each other that are shown."""
MAX_BYTES = 512 << 20
"""Memory that reading may take."""
MAX_SECONDS = 20
"""Time of the processor that reading may take."""

_BATCH_ROWS = 32
_BUFFER_BYTES = 1 << 16


class BadParquet(Exception):
    """A file is no Parquet file that can be read; the message says why, its name is put in front of it."""


def read_parquet_head(path: Path) -> ParquetHead:
    """Read the first rows of a Parquet file, page by page, and none behind the first `HEAD_BYTES` of JSON.

    Raises:
        BadParquet: it is none, or is broken.
        MemoryError: it wants more memory than there is.
    """
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            schema = file.schema_arrow
            names = list(dict.fromkeys(schema.names))[:MAX_COLUMNS]
            lines: list[str] = []
            size = 0
            for row in _rows(file, names):
                line = json.dumps(row, ensure_ascii=False, allow_nan=False)
                size += len(line.encode()) + 1
                if lines and (size >= HEAD_BYTES or len(lines) == MAX_ROWS):
                    break
                lines.append(line)
            n_rows = file.metadata.num_rows
            return ParquetHead(lines="\n".join(lines)[:MAX_LINES], n_columns=len(schema.names), n_rows=n_rows)
    except MemoryError:
        raise
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadParquet(f"is not a readable Parquet file: {reason}; write it again") from error


def _rows(file: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    # of other files it would only name the types of the columns
    is_of_datasets = b"huggingface" in (file.schema_arrow.metadata or {})
    features = datasets.Features.from_arrow_schema(file.schema_arrow) if is_of_datasets else {}
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names, use_threads=False):
        values = [named_values(features.get(name), batch.column(name).to_pylist()) for name in names]
        for row in zip(*values, strict=True):
            yield {name: _shown(value) for name, value in zip(names, row, strict=True)}


def _shown(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON may hold it, cut to what is shown."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list | tuple | dict) and depth == MAX_DEPTH:
        return "…"
    if isinstance(value, list | tuple):
        return [_shown(one, depth + 1) for one in value[:MAX_ELEMENTS]]
    if isinstance(value, dict):
        found = list(value.items())[:MAX_ELEMENTS]
        return {str(name): _shown(one, depth + 1) for name, one in found if one is not None}
    text = str(value)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def main() -> None:
    """Print what is found in the file that the command line names, or why nothing is."""
    end_by_kernel(os.getppid(), signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    try:
        outcome = HeadOutcome(head=read_parquet_head(Path(sys.argv[1])))
    except BadParquet as bad:
        outcome = HeadOutcome(problem=str(bad))
    except MemoryError:
        needed = f"needs more than {MAX_BYTES >> 20} MiB of memory for its first rows"
        outcome = HeadOutcome(problem=f"{needed}; write it in smaller pages")
    sys.stdout.write(outcome.model_dump_json())


if __name__ == "__main__":
    main()
