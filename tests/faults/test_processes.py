"""F01 to F08 and F29 with real processes: the service dies at one step after the other, and so does PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.client import Unreachable
from service.failpoints import ENVIRONMENT
from tests.faults.processes import eventually, processes, wait_for_end
from tests.faults.test_network import assert_whole, search

STEPS = [
    "create.before_commit",
    "create.after_commit",
    "register.after_commit",
    "dispatch.after_propose",
    "dispatch.after_commit@3",
    "report.before_commit@4",
    "report.after_commit@4",
    "upload.after_write",
    "upload.before_commit",
    "upload.after_commit",
    "tell.before_commit@2",
    "tell.after_commit@2",
    "heartbeat.after_commit",
]
QUICK_STEPS = ["create.after_commit", "report.after_commit@4", "upload.before_commit", "tell.after_commit@2"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_service_is_killed_at_some_steps(tmp_path: Path, database_url: str, fast_engine: Engine) -> None:
    die_at(QUICK_STEPS, tmp_path, database_url, fast_engine, n_trials=12)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_service_is_killed_at_each_step(tmp_path: Path, database_url: str, fast_engine: Engine) -> None:
    die_at([step for step in STEPS if "heartbeat" not in step], tmp_path, database_url, fast_engine, n_trials=60)


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


@contextmanager
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    raise NotImplementedError
