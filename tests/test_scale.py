"""`benchmarks/scale.py` goes through its phases without an error, and reads quantiles off histograms as they are meant;
`benchmarks/copy_database.py` kills copies, and finds the last one whole."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service_clock import between, quantile

ROOT = Path(__file__).parent.parent


def run(program: str, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-W", "ignore", f"benchmarks/{program}", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_calls_of_simulated_workers_are_answered_in_each_phase() -> None:
    workers = ["--workers", "8", "--studies", "2", "--reports", "4", "--watchers", "2"]
    times = ["--settle", "1", "--idle-seconds", "2", "--trial-seconds", "1", "--seconds", "6"]
    *phases, end = run("scale.py", *workers, *times, "--push", "0.5", "--push-seconds", "4")
    assert [one["phase"] for one in phases] == ["waiting", "steady", "push"]
    assert [one["n_errors"] for one in phases] == [0, 0, 0]
    assert all(one["trials"] > 0 and one["events"] > 0 for one in phases[1:])
    assert set(phases[1]["worker_ms"]) >= {"dispatch", "report", "log", "tell"}
    assert set(phases[1]["server_ms"]) >= {"dispatch", "report", "log", "tell", "proposal", "writing transaction"}
    assert phases[1]["cpu_seconds"]["postgresql"] > 0
    assert (end["states"], end["n_errors"], end["violations"]) == (["cancelled"], 0, [])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_copy_that_was_killed_twice_is_whole_when_it_is_made_again() -> None:
    [copied] = run("copy_database.py", "--trials", "40", "--studies", "2", "--reports", "2", "--kill-at", "0.5", "0.8")
    assert all(one["rows"] in (0, copied["rows"]) for one in copied["kills"])
    assert (copied["differences"], copied["after_kills"]) == ({}, {})
    assert copied["rows"] > 40 * 2


def test_a_quantile_lies_as_far_in_its_bucket_as_its_share_says() -> None:
    cumulative = {0.01: 50.0, 0.1: 100.0, math.inf: 100.0}
    assert quantile(cumulative, 0.25) == pytest.approx(0.005)
    assert quantile(cumulative, 0.75) == pytest.approx(0.055)


def test_what_lies_above_every_bound_counts_as_the_largest() -> None:
    assert quantile({0.01: 1.0, 30.0: 1.0, math.inf: 4.0}, 0.99) == 30.0


def test_only_what_has_happened_since_the_first_look_counts() -> None:
    def told(n_quick: float, n_all: float) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        route = ("route", "/v1/leases/report")
        return {
            ("spezia_request_seconds_bucket", frozenset({route, ("le", "0.01")})): n_quick,
            ("spezia_request_seconds_bucket", frozenset({route, ("le", "+Inf")})): n_all,
            ("spezia_requests_total", frozenset({route, ("status", "200")})): n_all - 1,
            ("spezia_requests_total", frozenset({route, ("status", "503")})): 1.0,
        }

    found = between(told(90, 100), told(94, 104))
    assert (found["requests"], found["failed_requests"]) == (4, 0)
    assert found["server_ms"] == {"report": {"n": 4, "p50": 5.0, "p99": 9.9}}
