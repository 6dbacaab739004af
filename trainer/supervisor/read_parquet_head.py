"""Has the beginning of a Parquet file read by a process of its own, which may take little time and memory."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from spezia.contract.parquet_head import HeadOutcome
from trainer.supervisor.engine_environment import engine_environment

READER = (sys.executable, "-P", "-m", "trainer.parquet_head")
"""Command that reads the beginning of the Parquet file that is named behind it."""

MAX_SECONDS = 45.0
"""Time that reading may take, its program's start included; less than the service waits for."""


def read_parquet_head(path: Path, reader: Sequence[str] = READER) -> HeadOutcome:
    """Return the first rows of a Parquet file, or why they cannot be read; whatever the file does to its reader."""
    try:
        ended = subprocess.run(
            [*reader, str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=engine_environment(os.environ),
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return HeadOutcome(problem=f"took more than {MAX_SECONDS:.0f} s to read; write it again, in smaller pages")
    try:
        return HeadOutcome.model_validate_json(ended.stdout)
    except ValidationError:
        code = ended.returncode
        return HeadOutcome(problem=f"ended the program that reads it (exit code {code}); write it again")
