"""F01 to F08 with real processes: the service dies at one step after the other."""

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.client import Unreachable
from service.failpoints import ENVIRONMENT
from tests.faults.processes import eventually, processes, wait_for_end
from tests.faults.test_network import assert_whole, search

STEPS = ["create.after_commit", "report.after_commit@4", "upload.before_commit", "tell.after_commit@2"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_service_is_killed_at_one_step_after_the_other(
    tmp_path: Path, database_url: str, fast_engine: Engine
) -> None:
    die_at(STEPS, tmp_path, database_url, fast_engine, n_trials=12)


def die_at(steps: list[str], folder: Path, database_url: str, engine: Engine, n_trials: int) -> None:
    """Let one service after the other die at its step while two workers go on."""
    with processes(folder, database_url) as running:
        for _ in range(2):
            running.start_worker()
        for step in steps:
            name, _, time = step.partition("@")
            with running.start_service({ENVIRONMENT: f"{name}=kill@{time or 1}"}) as client, suppress(Unreachable):
                client.create_study(search(n_trials))
            eventually(lambda: running.service.poll() is not None)  # type: ignore[union-attr]
        with running.start_service() as client:
            client.create_study(search(n_trials))
            assert_whole(wait_for_end(client, "far"), engine, running)
