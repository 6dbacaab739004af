"""What a trial costs besides its training: ask, five reports with the prune answer, tell.

    PYTHONPATH=. python benchmarks/control_plane.py [--trials 100 1000 10000] [--samplers random tpe] [--postgresql]

For each database, number of finished trials and sampler it prints one JSON line for each system, all of one run on
copies of the same database, all durable:

- ``storage``: our lifecycle functions in this process, one trial after the other
- ``http``: our service in a process of its own, 32 client threads; also a page of trials and the best trial, and what a
  trial cost the processors, of the service (``service_cpu_ms``, without PostgreSQL's) and of the clients
  (``clients_cpu_ms``)
- ``http_processes``: the same as two processes (`spezia serve --processes 2`); PostgreSQL only
- ``optuna``: stock Optuna's RDBStorage with the same sampler and pruner, one trial after the other; on SQLite as it
  comes, with Python's own library and a rollback journal
- ``optuna_wal``: the same, with our copy of SQLite and in WAL mode; SQLite only

Milliseconds; ``trial_ms`` is the cost of a whole trial, ``proposal_ms`` the share of it that the sampler took.
``--postgresql`` starts the server that a wheel of the ``dev`` extra carries, with fsync on.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx2
import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert, make_url

from service.cli.local_service import local_service
from service.files.folder_files import FolderFiles
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.workers.register_worker import register_worker
from service.metrics import Metrics
from service.search.propose.propose import Proposal, ProposalRequest
from service.search.propose.proposer import Proposer
from service.search.space.distributions import to_optuna
from service.settings import Settings
from service.store import studies
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.sql.sqlite import library
from service.store.sql.tables import attempt, measurement
from service.store.store import Store
from service.store.transaction import Transaction
from spezia.common.home_lock import find
from spezia.contract.outcomes import PreparedOutcome, TrialOutcome
from spezia.contract.protocol import PROTOCOL, Device, Report, WorkerRegistration
from spezia.contract.study_spec import MAX_TRIALS, StudySpec
from tests import postgres
from tests.fake_engine import FACTS

STUDY = "control-plane"
REPORTS = 5
CLIENTS = 32
PROCESSES = Path("/proc")
PRUNED_SHARE = 0.3
SPACE = {
    "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    "epochs": {"type": "int", "low": 1, "high": 5},
    "dropout": {"type": "float", "low": 0.0, "high": 0.4},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant_with_warmup"]},
    "frozen_layers": {"type": "int", "low": 0, "high": 6},
}
Times = dict[str, list[float]]
Copies = Callable[[], AbstractContextManager[str]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--samplers", nargs="+", choices=["random", "tpe"], default=["random", "tpe"])
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--cycles", type=int, default=60)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        databases: list[Databases] = [SqliteFiles(folder)]
        if options.postgresql:
            databases.append(PostgresServer(stack.enter_context(postgres.own_server()).url))
        for kind in databases:
            for n_trials in options.trials:
                with kind.seeded(n_trials) as copies:
                    for sampler in options.samplers:
                        for system in options.systems:
                            if kind.name != ONLY_ON.get(system, kind.name):
                                continue
                            with copies() as url:
                                measured = SYSTEMS[system](url, sampler, options.cycles)
                            row = {"database": kind.name, "n_trials": n_trials, "sampler": sampler, "system": system}
                            print(json.dumps(row | measured), flush=True)


# databases


class Databases(Protocol):
    """One kind of database."""

    name: str

    def seeded(self, n_trials: int) -> AbstractContextManager[Copies]:
        """A database with so many finished trials; what it gives makes copies of it to measure on."""
        ...


class SqliteFiles:
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def seeded(self, n_trials: int) -> Iterator[Copies]:
        original = self._folder / f"{n_trials}.db"
        seed(f"sqlite:///{original}", n_trials)
        assert not list(self._folder.glob(f"{original.name}-*")), "closed, so that all of it is in the one file"

        @contextmanager
        def copy() -> Iterator[str]:
            path = self._folder / f"{uuid4().hex}.db"
            shutil.copy(original, path)
            yield f"sqlite:///{path}"
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()

        yield copy
        original.unlink()


class PostgresServer:
    name = "postgresql"

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def seeded(self, n_trials: int) -> Iterator[Copies]:
        with postgres.database(self._url) as original:
            seed(original, n_trials)
            yield partial(postgres.database, self._url, template=original)


def seed(url: str, n_trials: int) -> None:
    """Make a study with ``n_trials`` finished trials of five evaluations each, some of them pruned."""
    with opened(url) as store:
        create_study(store, plan_study(StudySpec.model_validate(make_spec("random", MAX_TRIALS))))
        worker_id = registered(store)
        proposer = Proposer(store.metrics)
        [prepare] = dispatch(store, proposer, worker_id, 1).assignments
        outcome = PreparedOutcome(kind="prepare", facts=FACTS, device_seconds=1.0)
        tell(store, proposer, FolderFiles(Path()), prepare.lease_id, prepare.token, outcome)
        draw = random.Random(0)
        with store.writing() as tx:
            study = studies.lock(tx, STUDY)
            for _ in range(n_trials):
                add_finished(tx, study, worker_id, draw)


def add_finished(tx: Transaction, study: studies.StudyRow, worker_id: str, draw: random.Random) -> None:
    distributions = to_optuna(study.spec.search_space)
    params = {name: draw_one(one, draw) for name, one in distributions.items()}
    is_pruned = draw.random() < PRUNED_SHARE
    steps = range(1, 3 if is_pruned else REPORTS + 1)
    values = {step: draw.random() + 1 / step for step in steps}
    started = tx.now.replace(tzinfo=None)
    trial = FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
        value=min(values.values()),
        datetime_start=started,
        datetime_complete=started,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=values,
    )
    number = tx.trials.get_trial(tx.trials.create_new_trial(study.study_id, trial)).number
    common = {"study_uuid": study.uuid, "number": number, "attempt": 1}
    answer = {"is_final": False, "should_prune": False, "reason": None, "keep_model": False, "reported_at": tx.now}
    rows = [
        common | {"step": step, "epoch": float(step), "optimizer_steps": 10 * step, "value": value} | answer
        for step, value in values.items()
    ]
    metrics = {"validation_loss": 0.0, "train_loss": 0.0, "accuracy": 0.5}
    tx.connection.execute(
        insert(measurement), [row | {"metrics": metrics | {"validation_loss": row["value"]}} for row in rows]
    )
    begun = {"lease_id": uuid4().hex, "kind": "trial", "worker_id": worker_id, "device": "cpu", "started_at": tx.now}
    ended = {"ended_at": tx.now, "end": trial.state.name, "is_counted": True, "device_seconds": 60.0}
    tx.connection.execute(insert(attempt), common | begun | ended)


def draw_one(one: Any, draw: random.Random) -> Any:
    if hasattr(one, "choices"):
        return draw.choice(one.choices)
    if isinstance(one.low, int):
        return draw.randint(one.low, one.high)
    return draw.uniform(one.low, one.high)


def make_spec(sampler: str, n_trials: int) -> dict[str, Any]:
    return {
        "name": STUDY,
        "task": "text-classification",
        "model": {"name": "some/model"},
        "data": {"train": "train.csv"},
        "search_space": SPACE,
        "sampler": {"name": sampler},
        "pruner": {"name": "median", "options": {"n_warmup_steps": 1}},
        "n_trials": n_trials,
        "baseline": False,
        "training": {"keep_models": 0},
    }


@contextmanager
def opened(url: str) -> Iterator[Store]:
    engine = open_engine(url)
    migrate(engine)
    store = Store(engine, DatabaseClock())
    yield store
    store.close()


def registered(store: Store) -> str:
    worker_id = uuid4().hex
    device = Device(kind="cpu", name="cpu", memory_bytes=0, bf16=False)
    register_worker(
        store, WorkerRegistration(worker_id=worker_id, host="here", device=device, versions={}, protocol=PROTOCOL)
    )
    return worker_id


def use_sampler(url: str, sampler: str) -> None:
    with opened(url) as store, store.writing() as tx:
        study = studies.lock(tx, STUDY)
        spec = StudySpec.model_validate(study.spec.model_dump() | {"sampler": {"name": sampler}})
        studies.change_spec(tx, study, spec)


# systems


class TimedProposer(Proposer):
    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.times: list[float] = []

    def propose(self, request: ProposalRequest) -> Proposal | None:
        began = time.perf_counter()
        try:
            return super().propose(request)
        finally:
            self.times.append(time.perf_counter() - began)


def through_storage(url: str, sampler: str, cycles: int) -> dict[str, Any]:
    use_sampler(url, sampler)
    times: Times = defaultdict(list)
    with opened(url) as store, tempfile.TemporaryDirectory() as folder:
        worker_id, proposer = registered(store), TimedProposer(store.metrics)

        def cycle() -> None:
            with timed(times, "trial"):
                with timed(times, "dispatch"):
                    [held] = dispatch(store, proposer, worker_id, 1).assignments
                for step in range(1, REPORTS + 1):
                    body = Report.model_validate(make_report(held.lease_id, held.token, step))
                    with timed(times, "report"):
                        report(store, [body])
                outcome = TrialOutcome(kind="trial", state="COMPLETE", device_seconds=1.0)
                with timed(times, "tell"):
                    tell(store, proposer, FolderFiles(Path(folder)), held.lease_id, held.token, outcome)

        warm_then(cycle, cycles, times, proposer.times)
        proposer.close()
    return summary(times) | {"proposal_ms": milliseconds(statistics.median(proposer.times))}


def through_http_processes(url: str, sampler: str, cycles: int) -> dict[str, Any]:
    return through_http(url, sampler, cycles, processes=2)


def through_http(url: str, sampler: str, cycles: int, processes: int = 1) -> dict[str, Any]:
    use_sampler(url, sampler)
    times: Times = defaultdict(list)
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=url, n_workers=0, processes=processes)
        with local_service(settings, []) as (base, _):
            running = find(settings.home)
            assert running is not None

            def client(n_cycles: int) -> None:
                mine = one_client(base, n_cycles)
                with lock:
                    for name, seconds in mine.items():
                        times[name] += seconds

            with ThreadPoolExecutor(CLIENTS) as pool:
                list(pool.map(client, [1] * (4 if processes == 1 else CLIENTS)))
                times.clear()
                cpu_before = cpu_seconds(running.pid)
                began, mine_before = time.perf_counter(), time.process_time()
                list(pool.map(client, [max(1, cycles // 12)] * CLIENTS))
                elapsed, clients_cpu = time.perf_counter() - began, time.process_time() - mine_before
            service_cpu = cpu_seconds(running.pid) - cpu_before
            n_run = len(times["tell"])
            with httpx2.Client(base_url=base, timeout=60) as http:
                for name, path in (
                    ("page", "/trials"),
                    ("page_by_value", "/trials?order_by=value"),
                    ("best", "/best"),
                    ("study", ""),
                ):
                    for _ in range(10):
                        with timed(times, name):
                            http.get(f"/v1/studies/{STUDY}{path}").raise_for_status()
    cpu = {"service_cpu_ms": milliseconds(service_cpu / n_run), "clients_cpu_ms": milliseconds(clients_cpu / n_run)}
    return {"trial_ms": milliseconds(elapsed / n_run), "clients": CLIENTS} | cpu | summary(times)


def cpu_seconds(pid: int) -> float:
    """Seconds of the processor that a process and its living children have taken."""
    ticks = 0
    for path in PROCESSES.glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            figures = path.read_text().rpartition(") ")[2].split()
            if str(pid) in (path.parent.name, figures[1]):
                ticks += int(figures[11]) + int(figures[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def one_client(base: str, n_cycles: int) -> Times:
    times: Times = defaultdict(list)
    worker_id = uuid4().hex
    device = {"kind": "cpu", "name": "cpu", "memory_bytes": 0, "bf16": False}
    with httpx2.Client(base_url=base, timeout=120) as http:
        registration = {"worker_id": worker_id, "host": "here", "device": device, "versions": {}, "protocol": PROTOCOL}
        http.post("/v1/workers", json=registration).raise_for_status()
        for _ in range(n_cycles):
            with timed(times, "dispatch"):
                reply = http.post(f"/v1/workers/{worker_id}/dispatch", json={"slots": 1, "wait_seconds": 20})
            [held] = reply.raise_for_status().json()["assignments"]
            for step in range(1, REPORTS + 1):
                body = {"reports": [make_report(held["lease_id"], held["token"], step)]}
                with timed(times, "report"):
                    http.post("/v1/leases/report", json=body).raise_for_status()
            outcome = {"kind": "trial", "state": "COMPLETE", "device_seconds": 1.0}
            token = {"Lease-Token": held["token"]}
            with timed(times, "tell"):
                http.post(f"/v1/leases/{held['lease_id']}/tell", json=outcome, headers=token).raise_for_status()
    return times


def through_optuna(url: str, sampler: str, cycles: int) -> dict[str, Any]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        # the journal that stock Optuna leaves a new file with; no engine of ours has this one open
        with closing(library.connect(str(parsed.database))) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    return through_stock(RDBStorage(url), sampler, cycles)


def through_optuna_wal(url: str, sampler: str, cycles: int) -> dict[str, Any]:
    return through_stock(RDBStorage(url, engine_kwargs={"module": library}), sampler, cycles)


def through_stock(storage: RDBStorage, sampler: str, cycles: int) -> dict[str, Any]:
    times: Times = defaultdict(list)
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "random": lambda: RandomSampler(seed=0),
        "tpe": lambda: TPESampler(seed=0),
    }
    study = optuna.load_study(
        study_name=STUDY, storage=storage, sampler=samplers[sampler](), pruner=MedianPruner(n_warmup_steps=1)
    )
    distributions = to_optuna(StudySpec.model_validate(make_spec(sampler, 1)).search_space)

    def cycle() -> None:
        with timed(times, "trial"):
            with timed(times, "dispatch"):
                trial = study.ask(distributions)
            for step in range(1, REPORTS + 1):
                with timed(times, "report"):
                    trial.report(value_at(step), step)
                    trial.should_prune()
            with timed(times, "tell"):
                study.tell(trial, value_at(REPORTS))

    warm_then(cycle, cycles, times, [])
    storage.remove_session()
    storage.engine.dispose()
    return summary(times)


SYSTEMS = {
    "storage": through_storage,
    "http": through_http,
    "http_processes": through_http_processes,
    "optuna": through_optuna,
    "optuna_wal": through_optuna_wal,
}


ONLY_ON = {"optuna_wal": "sqlite", "http_processes": "postgresql"}


def make_report(lease_id: str, token: str, step: int) -> dict[str, Any]:
    # never so bad that the pruner ends the trial: every trial has all its reports
    metrics = {"validation_loss": value_at(step), "train_loss": 0.1, "accuracy": 0.9}
    return {
        "lease_id": lease_id,
        "token": token,
        "step": step,
        "epoch": float(step),
        "optimizer_steps": 10 * step,
        "value": value_at(step),
        "metrics": metrics,
        "final": step == REPORTS,
    }


def value_at(step: int) -> float:
    return 0.2 / step


def warm_then(cycle: Callable[[], None], cycles: int, times: Times, proposals: list[float]) -> None:
    for _ in range(2):
        cycle()
    times.clear()
    proposals.clear()
    for _ in range(cycles):
        cycle()


@contextmanager
def timed(times: Times, name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    times[name].append(time.perf_counter() - began)


def summary(times: Times) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, seconds in times.items():
        found[f"{name}_ms"] = milliseconds(statistics.median(seconds))
        found[f"{name}_p99_ms"] = milliseconds(percentile(seconds, 0.99))
    return found


def percentile(seconds: Sequence[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 2)


if __name__ == "__main__":
    main()
