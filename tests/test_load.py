"""`benchmarks/load.py` runs, on either database, and what it leaves behind is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def load(*options: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "benchmarks/load.py",
        "--workers",
        "4",
        "--trials",
        "12",
        "--reports",
        "3",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["state"], found["n_errors"], found["violations"]) == ("complete", 0, [])
    assert found["trials"]["complete"] + found["trials"]["pruned"] == 12
    return found


def test_load_on_sqlite() -> None:
    assert load("--database", "sqlite")["ms"]["report"]["n"] > 24


@pytest.mark.slow
def test_two_services_share_a_study_on_postgresql_while_stock_optuna_reads_it() -> None:
    readers = load("--database", "postgresql", "--services", "2", "--read")["readers"]
    assert readers["errors"] == []
    assert min(readers["reads"].values()) > 0
