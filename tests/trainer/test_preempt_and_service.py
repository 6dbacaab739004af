"""The real service, the real engine, its trunk cache and a tiny model: a trial that is preempted in the middle ends
with the numbers of one that ran through."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.trainer import tiny
from tests.trainer.test_worker_and_service import server as server

SECONDS = 60.0


@contextlib.contextmanager
def worker(server: str, root: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "trainer.cli", "--server", server, "--data-root", str(root)]
    command += ["--threads", "1", "--checkpoint-dir", str(folder / "checkpoints")]
    command += ["--cache-dir", str(folder / "trunks")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:  # a test that fails leaves no worker, which Popen would wait for
            process.kill()


def wait_for(http: httpx2.Client, path: str, state: str, step: int = 0) -> None:
    """Until what ``path`` names is in ``state`` and has reported ``step`` or one after it: steps are reported several
    at a time, so that none is sure to be seen as the last."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        reply: dict[str, Any] = http.get(path).json()
        if reply.get("state") == state and (not step or (reply["step"] or 0) >= step):
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{path} never became {state} at step {step}: {reply}")


def curve(http: httpx2.Client, study: str) -> list[tuple[int, float, dict[str, float]]]:
    detail = http.get(f"/{study}/trials/0").json()
    return [(row["step"], row["value"], row["metrics"]) for row in detail["intermediate_values"]]


@pytest.mark.timeout(180)
@pytest.mark.slow
def test_preempted_trial_is_finished_by_another_worker_with_the_same_numbers(
    server: str, pristine: Path, tmp_path: Path
) -> None:
    fixed = {"epochs": 20, "batch_size": 4, "dropout": 0.2, "learning_rate": 1e-3, "frozen_layers": 1}
    space = {"weight_decay": {"type": "float", "low": 0.1, "high": 0.2}}
    spec = tiny.make_spec(n_trials=1, training={"evaluations_per_epoch": 2}).model_dump()
    body = spec | {"search_space": space, "fixed": fixed}
    checkpoints = tmp_path / "checkpoints"
    with httpx2.Client(base_url=f"{server}/v1/studies", timeout=10) as http:
        assert http.post(f"{server}/v1/studies", json=body | {"name": "cut"}).status_code == 201
        with worker(server, pristine, tmp_path) as first:
            wait_for(http, "/cut/trials/0", state="RUNNING", step=3)
            first.terminate()
            assert first.wait(SECONDS) == 0
        before = http.get("/cut/trials/0").json()
        assert before["state"] == "WAITING"
        assert len(list(checkpoints.glob("*/0/1/at-*"))) == 1
        n_before = len(before["intermediate_values"])
        assert 3 <= n_before < 40
        with worker(server, pristine, tmp_path) as second:
            wait_for(http, "/cut", state="complete")
            assert http.post(f"{server}/v1/studies", json=body | {"name": "whole"}).status_code == 201
            wait_for(http, "/whole", state="complete")
            second.terminate()
            second.wait(SECONDS)
        assert curve(http, "cut") == curve(http, "whole")
        attempts = http.get("/cut/trials/0").json()["attempts"]
        assert [(one["end"], one["resumed_from"]) for one in attempts] == [("preempted", 0), ("COMPLETE", n_before)]
        metrics = [http.get(f"/{name}/best").json()["metrics"] for name in ("cut", "whole")]
        assert metrics[0] == metrics[1]  # those of the test split, which the kept models were scored on, included
        assert any(name.startswith("test_") for name in metrics[0])
        assert len(list((tmp_path / "trunks").glob("*.trunk"))) == 2  # made once, for training and validation rows
        assert not list(checkpoints.glob("*/*"))
