"""One service of two processes on PostgreSQL, which answer at one socket and of which one is killed."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from spezia import Client
from spezia.common.home_lock import find
from tests.faults.processes import eventually, is_dead, stopped
from tests.faults.test_services import GOOD
from tests.faults.wire import NAME, Far, engine_of, search, work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]
N_TRIALS = 30
N_WORKERS = 4
TOLD = re.compile(r'^spezia_trials_finished_total{state="COMPLETE"} ([0-9.]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Serving:
    """`spezia serve --processes 2` while it runs."""

    first: "subprocess.Popen[bytes]"
    url: str
    far: Far

    def second(self) -> int:
        """Return the id of the process beside the first one, when there is one."""
        return eventually(lambda: next(iter(_further_of(self.first.pid)), 0))

    def asked_without(self, pid: int, path: str) -> str:
        """Return what is answered while one of the processes stands still."""

        def ask() -> str | None:
            with stopped(pid):
                return _ask(self.url + path)

        return eventually(ask)

    def wait_for_second(self) -> int:
        """Return the id of the second process once it answers."""
        second = self.second()
        self.asked_without(self.first.pid, "/healthz")
        return second


def _further_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [one for one in children if _is_further(one)]


def _is_further(pid: int) -> bool:
    try:
        return b"service.further_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def _ask(url: str) -> str | None:
    try:
        answer = httpx2.get(url, timeout=1.0)
    except httpx2.TransportError:
        return None
    return answer.text if answer.status_code == 200 else None


@pytest.fixture
def serving(tmp_path: Path, database_url: str) -> Iterator[Serving]:
    with _serving(tmp_path / "home", database_url) as found:
        yield found


@contextmanager
def _serving(home: Path, database_url: str) -> Iterator[Serving]:
    command = [sys.executable, "-P", "-m", "spezia.cli", "serve", "--processes", "2", "--workers", "0", "--port", "0"]
    environment = {**os.environ, "SPEZIA_HOME": str(home), "SPEZIA_DATABASE_URL": database_url}
    with subprocess.Popen(command, env=environment) as first:
        engine = open_engine(database_url)
        try:
            running = eventually(lambda: find(home))
            port = int(running.url.rpartition(":")[2])
            settings = Settings(home=home, database_url=database_url)
            yield Serving(first, running.url, Far(Store(engine, DatabaseClock()), port, settings))
        finally:
            engine.dispose()
            first.kill()


@contextmanager
def at_work(serving: Serving, folder: Path) -> Iterator[None]:
    """Have workers carry out a study, until it ends."""
    create_study(serving.far.store, plan_study(search(N_TRIALS)))
    engine = engine_of(folder, {"*": GOOD})
    threads = [threading.Thread(target=work, args=(serving.far, serving.url, engine)) for _ in range(N_WORKERS)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(120)
    assert [thread.is_alive() for thread in threads] == [False] * N_WORKERS


def test_a_process_killed_under_load_costs_nothing_that_a_retry_does_not_cure(serving: Serving, tmp_path: Path) -> None:
    with Client(serving.url) as client:  # raises what its retries do not cure
        with at_work(serving, tmp_path):
            for before in (N_TRIALS // 5, N_TRIALS // 2):
                eventually(lambda: client.get_study(NAME).n_finished >= before)  # noqa: B023
                victim = serving.wait_for_second()
                os.kill(victim, signal.SIGKILL)
                eventually(lambda: serving.second() != victim)  # noqa: B023
        study = client.get_study(NAME)
        assert (study.state, study.trials.complete, study.n_finished) == ("complete", N_TRIALS, N_TRIALS)
    serving.far.check()


def test_whichever_process_is_asked_tells_what_all_have_counted(serving: Serving, tmp_path: Path) -> None:
    second = serving.wait_for_second()
    with at_work(serving, tmp_path):
        pass
    told = [TOLD.findall(serving.asked_without(pid, "/metrics")) for pid in (serving.first.pid, second)]
    assert told == [[f"{N_TRIALS}.0"]] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_all_processes_end_with_the_first(number: signal.Signals, serving: Serving) -> None:
    second = serving.wait_for_second()
    serving.first.send_signal(number)
    assert serving.first.wait(60) == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: is_dead(second))
