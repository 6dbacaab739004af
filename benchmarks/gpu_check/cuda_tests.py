"""Part ``tests``: what only a GPU can show, one finding a test, told as soon as it has run."""

import os
import sys
from pathlib import Path

import pytest
import torch
from findings import Tell, take_stdout

ROOT = Path(__file__).parent.parent.parent
FILE = "tests/trainer/test_cuda.py"
N_PROCESSES = 8
"""Processes that share the GPU: most of a test is the host's work."""


class Teller:
    """A plugin of pytest that tells how each test ended."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has a report for its call, or for a setup or teardown that went otherwise than well."""
        if report.when != "call" and report.passed:
            return
        found = {"outcome": report.outcome, "seconds": round(report.duration, 1)}
        if report.failed:
            found["error"] = report.longreprtext[-1_000:]
        self._tell({report.nodeid.rpartition("::")[2]: found})


def main() -> int:
    teller = Teller(tell := take_stdout())
    os.chdir(ROOT)
    # Without the other conftests, which want a PostgreSQL; another version's warning is no error here
    options = ["--noconftest", "-p", "tests.trainer.conftest", "-p", "no:cacheprovider", "-W", "default", FILE]
    if not torch.cuda.is_available():
        tell({"skipped": "there is no CUDA device"})
        return int(pytest.main(options, plugins=[teller]))
    many = pytest.main([*options, "-m", "not whole_device", "-n", str(N_PROCESSES)], plugins=[teller])
    alone = pytest.main([*options, "-m", "whole_device"], plugins=[teller])
    return int(many or alone)


if __name__ == "__main__":
    sys.exit(main())
