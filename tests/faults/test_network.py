"""F18 to F27: real workers, a real service, and between them a proxy that fails in every way it knows."""

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.contract.study import Study, StudySpec
from tests.faults.invariants import violations
from tests.faults.processes import Processes, eventually, processes, wait_for_end
from tests.faults.proxy import MOODS, Proxy
from tests.service.hand_worker import spec


def search(n_trials: int) -> StudySpec:
    return StudySpec.model_validate(
        spec(
            name="far",
            n_trials=n_trials,
            fixed={"epochs": 3},
            pruner={"name": "median", "options": {"n_startup_trials": 2}},
            data={"train": "train.csv", "test": "test.csv"},
        )
    )


def assert_whole(study: Study, engine: Engine, running: Processes) -> None:
    assert (study.state, study.n_finished) == ("complete", study.spec.n_trials)
    assert study.trials.fail == 0
    found = [words for words in violations(engine, running.home / "artifacts", is_quiet=True) if "I13" not in words]
    assert found == []


def run_through_proxy(
    tmp_path: Path, database_url: str, engine: Engine, n_trials: int, moods: dict[str, int], seed: int
) -> Proxy:
    with processes(tmp_path, database_url) as running, running.start_service() as client:
        client.create_study(search(n_trials))
        with Proxy(running.port, seed, moods).running() as proxy:
            for _ in range(2):
                running.start_worker(proxy.url)
            assert_whole(wait_for_end(client, "far"), engine, running)
        return proxy


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_study_ends_whole_over_a_bad_network(tmp_path: Path, database_url: str, fast_engine: Engine) -> None:
    proxy = run_through_proxy(tmp_path, database_url, fast_engine, 12, dict(MOODS), seed=0)
    assert sum(proxy.fates.values()) - proxy.fates["passes"] > 10


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_was_stopped_goes_on(tmp_path: Path, database_url: str, fast_engine: Engine) -> None:
    with processes(tmp_path, database_url) as running, running.start_service() as client:
        client.create_study(search(30))
        workers = [running.start_worker() for _ in range(2)]
        assert running.service is not None
        for enough, process in ((3, workers[0]), (10, running.service), (15, workers[1])):
            eventually(lambda: client.get_study("far").n_finished >= enough)  # noqa: B023
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
        assert_whole(wait_for_end(client, "far"), fast_engine, running)
