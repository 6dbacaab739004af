"""F09, F10, F14, F16, F17 and F40 with real processes: workers are killed and stopped at each of their calls."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from queue import Queue
from uuid import uuid4

import pytest

from service.lifecycle.leases.reap import reap_worker
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.trials.show_trial import show_trial
from service.settings import Settings
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from tests.faults.processes import SECONDS, eventually, is_dead, service_of, stopped, workers
from tests.faults.proxy import Connection, Lost, Wire, endpoint_of, listening
from tests.faults.wire import NAME, Far, engine_of, search, serving, work
from trainer.supervisor.supervisor import Limits

StartWorker = Callable[..., ForkServerProcess]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
MOMENTS = [
    (endpoint, nth, when)
    for endpoint, nth in [("workers", 1), ("dispatch", 2), ("report", 3), ("log", 1), ("artifacts", 1), ("tell", 2)]
    for when in ("before", "after")
]
GOOD = [{"evaluate": 0.5}, {"evaluate": 0.4, "final": True}]
QUICK = [("report", 3, "after"), ("tell", 2, "before")]


@pytest.fixture
def far(tmp_path: Path, database_url: str) -> Iterator[Far]:
    with serving(Settings(home=tmp_path / "home", database_url=database_url, n_workers=0)) as far:
        yield far


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    with workers() as start:
        yield start


class Deadly(Wire):
    """Kills the worker when it makes its n-th call of a kind, before or after the service has heard it."""

    def __init__(self, far: Far, folder: Path, moment: tuple[str, int, str]) -> None:
        super().__init__(far.port, [], folder)
        self._endpoint, self._left, self._when = moment
        self.victim: Queue[ForkServerProcess] = Queue()

    def cross(self, request: bytes, client: Connection) -> bytes:
        self._left -= endpoint_of(request) == self._endpoint
        if self._left != 0:
            return super().cross(request, client)
        self._left -= 1
        if self._when == "after":
            self.forward(request)
        self.victim.get(timeout=SECONDS).kill()
        raise Lost


@on_sqlite
@pytest.mark.parametrize("moment", QUICK, ids=str)
def test_f09_f40_a_worker_killed_at_a_call_has_lost_nothing(
    moment: tuple[str, int, str], far: Far, start_worker: StartWorker, tmp_path: Path
) -> None:
    kill_at(moment, far, start_worker, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=str)
def test_f09_f40_a_worker_killed_at_any_call_has_lost_nothing(
    moment: tuple[str, int, str], far: Far, start_worker: StartWorker, tmp_path: Path
) -> None:
    kill_at(moment, far, start_worker, tmp_path)


def kill_at(moment: tuple[str, int, str], far: Far, start_worker: StartWorker, folder: Path) -> None:
    create_study(far.store, plan_study(search(3)))
    pid_file = folder / "engine.pid"
    engine = engine_of(folder, {"0/1": [{"print": "a"}, {"pid": str(pid_file)}, *GOOD], "*": GOOD})
    worker_id = uuid4().hex
    wire = Deadly(far, folder, moment)
    with listening(wire) as url:
        victim = start_worker(url, engine, worker_id)
        wire.victim.put(victim)
        victim.join(SECONDS)
    assert victim.exitcode == -signal.SIGKILL
    assert not pid_file.exists() or eventually(lambda: is_dead(int(pid_file.read_text())))
    reap_worker(far.store, worker_id)  # what its launcher does at once, and elsewhere the expiry of the lease
    work(far, far.url, engine)
    assert show_study(far.store, NAME).trials.complete == 3
    far.check()


@pytest.mark.slow
@on_sqlite
def test_f10_an_engine_killed_at_any_time_costs_its_trial_and_no_other(far: Far, tmp_path: Path) -> None:
    create_study(far.store, plan_study(search(6)))
    deadly = [[], GOOD[:1], [*GOOD[:1], {"save": 1}], GOOD]
    engine = engine_of(tmp_path, {str(n): [*actions, {"signal": 9}] for n, actions in enumerate(deadly)} | {"*": GOOD})
    work(far, far.url, f"{engine} --checkpoint-dir {tmp_path / 'checkpoints'}")
    assert [row[0] for row in far.shown()] == ["FAIL"] * 4 + ["COMPLETE"] * 2
    failures = [show_trial(far.store, NAME, number).failure for number in range(4)]
    assert all(failure and "SIGKILL" in failure.message for failure in failures), failures
    far.check()


@on_sqlite
def test_f14_a_worker_that_was_stopped_while_another_finished_changes_nothing(
    far: Far, start_worker: StartWorker, tmp_path: Path
) -> None:
    create_study(far.store, plan_study(search(2)))
    pid_file, gate = tmp_path / "engine.pid", tmp_path / "gate"
    stuck = [{"pid": str(pid_file)}, {"until": str(gate)}, {"evaluate": 0.1, "final": True}]
    engine = engine_of(tmp_path, {"0/1": stuck, "*": GOOD})
    wire, worker_id = Wire(far.port, [], tmp_path), uuid4().hex
    with listening(wire) as url:
        sleeper = start_worker(url, engine, worker_id)
        assert sleeper.pid is not None
        eventually(pid_file.exists)
        with stopped(sleeper.pid):
            reap_worker(far.store, worker_id)
            work(far, far.url, engine)
            before, n_asked = far.shown(), wire.calls["dispatch"]
            gate.touch()
        eventually(lambda: wire.calls["dispatch"] > n_asked)  # it was told, and looks for other work
        sleeper.kill()
        sleeper.join()
    assert wire.calls["report"] == 1
    assert far.shown() == before
    far.check()


@on_sqlite
def test_f16_an_engine_that_is_stopped_costs_its_trial_and_no_other(far: Far, tmp_path: Path) -> None:
    create_study(far.store, plan_study(search(2)))
    pid_file, gate = tmp_path / "engine.pid", tmp_path / "gate"
    stuck = [{"pid": str(pid_file)}, {"until": str(gate)}, *GOOD]
    engine = engine_of(tmp_path, {"0": stuck, "*": GOOD})

    def stop() -> None:
        os.kill(eventually(lambda: pid_file.exists() and int(pid_file.read_text())), signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    work(far, far.url, engine, limits=Limits(wait_seconds=0.1, stall_seconds=3.0))
    stopping.join()
    assert [row[0] for row in far.shown()] == ["FAIL", "COMPLETE"]
    assert far.shown()[0][3] == "stalled"
    far.check()


@on_sqlite
def test_f17_a_service_that_was_stopped_goes_on(tmp_path: Path, database_url: str) -> None:
    with service_of(tmp_path / "home", database_url) as service:
        service.start()
        assert service.process is not None
        assert service.process.pid is not None
        engine = open_engine(database_url)
        far = Far(Store(engine, DatabaseClock()), service.port, service.settings)
        create_study(far.store, plan_study(search(2)))
        pid_file, gate, is_noticed = tmp_path / "engine.pid", tmp_path / "gate", threading.Event()
        script = {"0": [{"pid": str(pid_file)}, {"until": str(gate)}, *GOOD], "*": GOOD}
        working = threading.Thread(
            target=work,
            args=(far, service.url, engine_of(tmp_path, script)),
            kwargs={"on_pause": is_noticed.set},
        )
        working.start()
        eventually(pid_file.exists)
        with stopped(service.process.pid):
            is_noticed.clear()
            gate.touch()
            assert is_noticed.wait(SECONDS)
        working.join(SECONDS)
        assert [len(show_trial(far.store, NAME, number).attempts) for number in range(2)] == [1, 1]
        far.check()
        engine.dispose()
