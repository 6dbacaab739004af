"""The script for Slurm as a job whose time is up in the middle of a trial: the next job goes on from its checkpoint."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.deployed import DEPLOY
from tests.trainer import tiny
from tests.trainer.conftest import pristine as pristine
from tests.trainer.test_preempt_and_service import SECONDS, wait_for
from tests.trainer.test_worker_and_service import server as server

KEY = f"spz_{'0' * 12}_{'k' * 43}"


@contextmanager
def job(server: str, shared: Path, node: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A job on a node of its own: only ``shared`` is there for others."""
    (node / ".config/spezia").mkdir(parents=True)
    key = node / ".config/spezia/worker.key"
    key.write_text(KEY)
    key.chmod(0o600)
    environment = os.environ | {
        "SPEZIA_SERVER": server,
        "SHARED": str(shared),
        "HOME": str(node),
        "XDG_CACHE_HOME": str(node / "cache"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(["bash", DEPLOY / "worker.slurm"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_trial_whose_job_runs_out_of_time_goes_on_in_another_job(server: str, pristine: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "data").symlink_to(pristine)
    fixed = {"epochs": 20, "batch_size": 4}
    body = tiny.make_spec(name="cut", n_trials=1, fixed=fixed, training={"evaluations_per_epoch": 2}).model_dump()
    with httpx2.Client(base_url=f"{server}/v1/studies", timeout=10) as http:
        assert http.post(f"{server}/v1/studies", json=body).status_code == 201
        with job(server, shared, tmp_path / "first") as first:
            wait_for(http, "/cut/trials/0", state="RUNNING", step=3)
            first.terminate()  # what Slurm sends by `--signal=B:TERM@120`, to the process of the script
            assert first.wait(SECONDS) == 0
        n_before = len(http.get("/cut/trials/0").json()["intermediate_values"])
        with job(server, shared, tmp_path / "second") as second:
            wait_for(http, "/cut", state="complete")
            second.terminate()
            assert second.wait(SECONDS) == 0
        attempts = http.get("/cut/trials/0").json()["attempts"]
    assert [(one["end"], one["resumed_from"]) for one in attempts] == [("preempted", 0), ("COMPLETE", n_before)]
    assert 3 <= n_before < 40
