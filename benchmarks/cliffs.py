"""Where the cost of a call once grew with what it does not look at: other studies, old trials, idle workers.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/cliffs.py [--database sqlite postgresql] [--rows reports looks …]

Prints one JSON line for each database and row; numbers are medians in milliseconds unless their name says otherwise.
``--small`` measures a tenth of everything, to see that the program runs.

- ``reports``: a report, in turn of as many open studies of 300 trials each
- ``lists``: a page of as many studies of 300 trials each, and the first page of 48 after a restart
- ``looks``: the look for work of an idle worker, beside as many open studies that are full
- ``idle``: share of one core that a service takes for 20 idle workers beside 10 full studies; time from a resumed study
  to the trial of a worker that waited, and from a trial given back through another service (PostgreSQL)
- ``evaluations``: a page of 1,000 trials of 200 evaluations each
- ``long_trial``: a report by pruner, and for pruner `median` a heartbeat, the description of the trial and the tell
  that ends it, where as many evaluations of the trial have been reported before
- ``webhooks``: one look for what is due, 10 webhooks and 10,000 ended studies, nothing to tell
- ``straggler``: a report in a study of 5,000 finished trials, without and with one trial running before all of them
- ``gp``: a dispatch for another study while 14 workers ask for trials of sampler `gp`, and while there is none take
  those of the other study as fast as they can; ``beside_without_gp``: with the study of `gp` paused, which shows what
  of it is the load of so many workers alone
- ``grid``: a dispatch in a grid of 192,000 points, 200 of them visited
- ``workers``: what a start takes for 5,000 workers that its launcher once started
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy import insert

from benchmarks.control_plane import (
    SPACE,
    Databases,
    PostgresServer,
    SqliteFiles,
    Times,
    add_finished,
    make_report,
    milliseconds,
    opened,
    registered,
    timed,
    value_at,
)
from service.cli.local_service import local_service
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.heartbeat import heartbeat
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell as tell_result
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.list_studies import list_studies
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.studies.state_machine import pause
from service.lifecycle.studies.summarise import summarise
from service.lifecycle.trials.list_trials import list_trials
from service.lifecycle.trials.show_trial import show_trial
from service.lifecycle.workers.launched_workers import retire_left_behind
from service.optuna_private import id_of
from service.search.propose.propose import ProposalRequest, propose
from service.search.propose.proposer import Proposer
from service.settings import Settings
from service.store import attempts, studies, trials, webhooks
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.optuna import tables as optuna_tables
from service.store.optuna.frozen import intermediate_row
from service.store.sql.tables import event, measurement, study_spec, worker
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.common.home_lock import find
from spezia.contract.outcomes import TrialOutcome
from spezia.contract.protocol import PROTOCOL, HeldLease, Report
from spezia.contract.study_spec import StudySpec
from tests import postgres
from tests.fake_engine import FACTS

ROUNDS = 5
GRID = {
    "learning_rate": {"type": "float", "low": 0.0001, "high": 0.008, "step": 0.0001},
    "dropout": {"type": "float", "low": 0.0, "high": 0.39, "step": 0.01},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.59, "step": 0.01},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    share = 0.1 if options.small else 1.0
    for database in options.database:
        with databases(database) as kind:
            for row in options.rows:
                with kind.empty() as url:
                    measured = ROWS[row](url, lambda n: max(2, int(share * n)))
                print(json.dumps({"database": database, "row": row} | measured), flush=True)


class Fresh:
    """Makes new databases of one kind."""

    def __init__(self, kind: Databases) -> None:
        self._kind = kind

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database with one study that has ended its preparation and has no trials."""
        with self._kind.seeded(0) as copies, copies() as url:
            with opened(url) as store:
                pause(store, "control-plane")
            yield url


@contextmanager
def databases(name: str) -> Iterator[Fresh]:
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield Fresh(SqliteFiles(Path(folder)))
    else:
        with postgres.own_server() as server:
            yield Fresh(PostgresServer(server.url))


# what there is


def spec(name: str, **changes: Any) -> StudySpec:
    fields = {
        "name": name,
        "task": "text-classification",
        "model": {"name": "some/model"},
        "data": {"train": "train.csv"},
        "search_space": SPACE,
        "sampler": {"name": "random"},
        "pruner": {"name": "median", "options": {"n_warmup_steps": 1}},
        "n_trials": 10_000,
        "baseline": False,
        "training": {"keep_models": 0},
    }
    return StudySpec.model_validate(fields | changes)


def add_study(store: Store, name: str, n_trials: int = 0, precision: str = "fp32", **changes: Any) -> None:
    """A prepared study with so many finished trials."""
    create_study(store, plan_study(spec(name, **changes)))
    draw = random.Random(name)
    with store.writing() as tx:
        study = studies.lock(tx, name)
        study = studies.change(tx, study, facts=FACTS.model_copy(update={"precision": precision}))
        for _ in range(n_trials):
            add_finished(tx, study, uuid4().hex, draw)
        summarise(tx, study)


def hold_trial(tx: Transaction, study: StudyRow, worker_id: str) -> Lease:
    """A running trial with its lease, of the params that a random sampler proposes."""
    number = len(trials.all_of(tx, study))
    random_spec = spec(study.name, search_space=study.spec.model_dump()["search_space"])
    proposal = propose(ProposalRequest(spec=random_spec, study_name=study.name, number=number, trials=[]))
    assert proposal is not None
    added = trials.add(tx, study, "RUNNING", proposal.params, proposal.distributions, system_attrs={}, user_attrs={})
    return attempts.begin(tx, study.uuid, "trial", added.number, Asker(worker_id, "cpu", "cpu", {}), n_past=0)


def hold(store: Store, name: str) -> Lease:
    worker_id = registered(store)
    with store.writing() as tx:
        return hold_trial(tx, studies.lock(tx, name), worker_id)


def median(seconds: list[float]) -> float:
    return milliseconds(statistics.median(seconds))


def repeated(act: Callable[[], object], n_times: int = ROUNDS) -> float:
    """Milliseconds of one call, after one that does not count."""
    times: Times = defaultdict(list)
    act()
    for _ in range(n_times):
        with timed(times, "act"):
            act()
    return median(times["act"])


# rows


def measure_reports(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    """In turn, so that each study's trials are those that were used longest ago."""
    found = {}
    with opened(url) as store:
        names = [f"study-{number}" for number in range(n(64))]
        for name in names:
            add_study(store, name, n(300))
        held = [hold(store, name) for name in names]
        for some in (n(16), n(34), n(64)):
            times: Times = defaultdict(list)
            for _ in range(ROUNDS + 1):
                for lease in held[:some]:
                    step = 1 + len(times[lease.lease_id])
                    body = Report.model_validate(make_report(lease.lease_id, lease.token, step) | {"final": False})
                    with timed(times, lease.lease_id):
                        report(store, [body])
            held = [hold(store, name) for name in names]
            found[f"{some}_studies"] = median([one for seconds in times.values() for one in seconds[1:]])
    return found


def measure_lists(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    found = {}
    with opened(url) as store:
        for number in range(n(48)):
            add_study(store, f"study-{number}", n(300))
            if number + 1 in (n(16), n(34), n(48)):
                found[f"{number + 1}_studies"] = repeated(
                    lambda: list_studies(store, 100, None, name_contains="study-")
                )
    with opened(url) as restarted:
        times: Times = defaultdict(list)
        with timed(times, "first"):
            list_studies(restarted, 100, None, name_contains="study-")
        found["after_restart"] = median(times["first"])
    return found


def measure_looks(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    found = {}
    with opened(url) as store:
        worker_id, proposer = registered(store), Proposer(store.metrics)
        for number in range(n(300)):
            add_study(store, f"study-{number}", n_parallel=1)
            hold(store, f"study-{number}")
            if number + 1 in (n(50), n(250), n(260), n(300)):
                found[f"{number + 1}_studies"] = repeated(lambda: dispatch(store, proposer, worker_id, 1))
    return found


def measure_idle(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        for number in range(n(10)):
            add_study(store, f"study-{number}", n(300), n_parallel=1)
            hold(store, f"study-{number}")
        add_study(store, "paused")
        pause(store, "paused")
        worker_ids = [registered(store) for _ in range(n(20))]
    found: dict[str, Any] = {}
    with served(url) as (base, pid):
        with ThreadPoolExecutor(len(worker_ids)) as pool:
            waiting = [pool.submit(ask, base, worker_id, 20.0) for worker_id in worker_ids]
            time.sleep(2.0)
            began, spent = time.perf_counter(), cpu_seconds(pid)
            time.sleep(10.0)
            found["core_share"] = round((cpu_seconds(pid) - spent) / (time.perf_counter() - began), 4)
            [reply.result() for reply in waiting]
        found["resumed_ms"] = milliseconds(statistics.median(resumed_seconds(base, base, worker_ids[0], ROUNDS)))
        if url.startswith("postgresql"):
            with served(url) as (other, _):
                seconds = resumed_seconds(base, other, worker_ids[0], ROUNDS)
            found["resumed_elsewhere_ms"] = milliseconds(statistics.median(seconds))
    return found


def resumed_seconds(base: str, other: str, worker_id: str, n_times: int) -> list[float]:
    """Times from resuming a study through service ``other`` to its trial for a worker that waits at ``base``."""
    draw = random.Random(0)
    seconds = []
    with httpx2.Client(base_url=other, timeout=60) as http, ThreadPoolExecutor(1) as pool:
        for _ in range(n_times):
            waiting = pool.submit(ask, base, worker_id, 20.0)
            time.sleep(0.5 + draw.random())
            began = time.perf_counter()
            http.post("/v1/studies/paused/resume").raise_for_status()
            [held] = waiting.result()
            seconds.append(time.perf_counter() - began)
            http.post("/v1/studies/paused/pause").raise_for_status()
            tell(base, held)
    return seconds


def measure_evaluations(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        add_study(store, "long")
        with store.writing() as tx:
            study = studies.lock(tx, "long")
            for _ in range(n(1000)):
                add_finished(tx, study, uuid4().hex, random.Random(0))
            common = {"is_final": False, "should_prune": False, "reason": None, "keep_model": False, "attempt": 1}
            common |= {"study_uuid": study.uuid, "reported_at": tx.now, "metrics": {"validation_loss": 0.5, "f1": 0.5}}
            for number in range(n(1000)):
                steps = range(6, 201)
                rows = [{"number": number, "step": step, "epoch": step / 40, "value": 0.5} for step in steps]
                every = [common | row | {"optimizer_steps": 10 * row["step"]} for row in rows]
                tx.connection.execute(insert(measurement), every)
        return {"page": repeated(lambda: list_trials(store, "long", 1000, None, (), "number"))}


def measure_long_trial(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    found = {}
    pruners = {
        **{
            name: {"name": name}
            for name in ("median", "none", "percentile", "patient", "successive-halving", "hyperband")
        },
        "threshold": {"name": "threshold", "options": {"upper": 1e6}},
    }
    with opened(url) as store, tempfile.TemporaryDirectory() as folder:
        proposer = Proposer(store.metrics)
        for n_before in (0, n(1000), n(10_000), n(50_000)):
            for name, pruner in pruners.items():
                study_name = f"{name}-{n_before}"
                add_study(store, study_name, 10, pruner=pruner)
                held = [hold_with_evaluations(store, study_name, n_before) for _ in range(3 if name == "median" else 1)]
                steps = iter(range(n_before + 1, n_before + 1000))

                def report_one(held: Lease = held[0], steps: Iterator[int] = steps) -> None:
                    body = make_report(held.lease_id, held.token, next(steps)) | {"final": False}
                    report(store, [Report.model_validate(body)])

                found[f"report_{name}_{n_before}"] = repeated(report_one)
                if name == "median":
                    beat = HeldLease(lease_id=held[0].lease_id, token=held[0].token)
                    found[f"heartbeat_{n_before}"] = repeated(partial(heartbeat, store, [beat], 10**9))
                    found[f"trial_{n_before}"] = repeated(partial(show_trial, store, study_name, held[0].number), 3)
                    times: Times = defaultdict(list)
                    for one in held:
                        last = make_report(one.lease_id, one.token, n_before + 1000) | {"final": True}
                        report(store, [Report.model_validate(last)])
                        outcome = TrialOutcome(kind="trial", state="COMPLETE", device_seconds=1.0)
                        with timed(times, "tell"):
                            tell_result(store, proposer, Path(folder), one.lease_id, one.token, outcome)
                    found[f"tell_{n_before}"] = median(times["tell"])
        proposer.close()
    return found


def hold_with_evaluations(store: Store, name: str, n_before: int) -> Lease:
    """A running trial with its lease, and so many evaluations that seem to have been reported."""
    held = hold(store, name)
    common = {"is_final": False, "should_prune": False, "reason": None, "keep_model": False, "attempt": 1}
    common |= {"study_uuid": held.study_uuid, "number": held.number, "metrics": {"validation_loss": 0.5, "f1": 0.5}}
    with store.writing() as tx:
        study = studies.lock(tx, name)
        trial = trials.find(tx, study, held.number)
        assert trial is not None
        steps = range(1, n_before + 1)
        if steps:
            rows = [
                {"step": step, "epoch": step / 40, "value": value_at(step), "optimizer_steps": step} for step in steps
            ]
            tx.connection.execute(insert(measurement), [common | row | {"reported_at": tx.now} for row in rows])
            values = [intermediate_row(id_of(trial), step, value_at(step)) for step in steps]
            tx.connection.execute(insert(optuna_tables.trial_intermediate_values), values)
        tx.trials.reload(id_of(trial))
    return held


def measure_webhooks(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        with store.writing() as tx:
            known = studies.find(tx, "control-plane")
            columns = {"spec": known.spec.model_dump_json(), "state": "complete", "is_scored": True, "warnings": []}
            columns |= {"has_card": True, "created_at": tx.now, "finished_at": tx.now}
            for number in range(n(10_000)):
                added = insert(optuna_tables.studies).values(study_name=f"old-{number}")
                study_id = tx.connection.execute(added.returning(optuna_tables.studies.c.study_id)).scalar_one()
                uuid = uuid4().hex
                tx.connection.execute(insert(study_spec), {"uuid": uuid, "study_id": study_id, **columns})
                payload = {"state": "complete", "failure": None}
                row = {"study_uuid": uuid, "kind": "study", "payload": payload, "at": tx.now}
                tx.connection.execute(insert(event), row)
        with store.writing() as tx:
            for number in range(n(10)):
                webhooks.add(tx, f"https://example.org/{number}", "whsec_", ["study.changed"], None)

        def look() -> None:
            with store.reading() as tx:
                assert webhooks.due(tx) == []

        return {"due": repeated(look)}


def measure_straggler(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    found = {}
    with opened(url) as store:
        for name, has_straggler in (("without", False), ("with", True)):
            add_study(store, name)
            if has_straggler:
                hold(store, name)
            with store.writing() as tx:
                study = studies.lock(tx, name)
                for _ in range(n(5000)):
                    add_finished(tx, study, uuid4().hex, random.Random(0))
            held = hold(store, name)
            steps = iter(range(1, 1000))

            def tell_one(held: Lease = held, steps: Iterator[int] = steps) -> None:
                body = make_report(held.lease_id, held.token, next(steps)) | {"final": False}
                report(store, [Report.model_validate(body)])

            found[name] = repeated(tell_one, 4 * ROUNDS)
    return found


def measure_gp(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        add_study(store, "gp", 40, "bf16", sampler={"name": "gp"})
        add_study(store, "other", n(20))
        for _ in range(40):
            hold(store, "other")  # so that the others prefer `gp`
    times: Times = defaultdict(list)
    is_over = threading.Event()
    with served(url) as (base, _), ThreadPoolExecutor(14) as pool:
        mine = register(base, bf16=False)  # gets none of `gp`

        def time_dispatches(kind: str) -> None:
            for _ in range(4 * ROUNDS):
                with timed(times, kind):
                    [held] = ask(base, mine, 30.0)
                tell(base, held)
                time.sleep(0.1)

        time_dispatches("alone")

        def ask_for_gp() -> int:
            n_got, worker_id = 0, register(base, bf16=True)
            while not is_over.is_set():
                for held in ask(base, worker_id, 5.0):
                    n_got += held["study"] == "gp"
                    tell(base, held)
            return n_got

        asking = [pool.submit(ask_for_gp) for _ in range(14)]
        time.sleep(20.0)  # the helper has imported torch
        time_dispatches("beside")
        httpx2.post(f"{base}/v1/studies/gp/pause").raise_for_status()
        time_dispatches("beside_without_gp")
        is_over.set()
        n_got = sum(one.result() for one in asking)
    worst = {f"{kind}_worst": milliseconds(max(seconds)) for kind, seconds in times.items()}
    return {kind: median(seconds) for kind, seconds in times.items()} | worst | {"n_trials_of_gp": n_got}


def measure_grid(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        add_study(store, "grid", search_space=GRID, sampler={"name": "grid"}, pruner={"name": "none"})
        worker_id, proposer = registered(store), Proposer(store.metrics)
        times: Times = defaultdict(list)
        for number in range(n(200)):
            with timed(times, "last" if number >= n(200) - 20 else "first"):
                assert dispatch(store, proposer, worker_id, 1)
            worker_id = registered(store)  # or it would get the same trial again
        return {"dispatch": median(times["last"])}


def measure_workers(url: str, n: Callable[[int], int]) -> dict[str, Any]:
    with opened(url) as store:
        with store.writing() as tx:
            rows = [{"worker_id": uuid4().hex, "launcher": "here"} for _ in range(n(5000))]
            tx.connection.execute(insert(worker), rows)
        return {"start": repeated(lambda: retire_left_behind(store, "here"), 3)}


# over HTTP


@contextmanager
def served(url: str) -> Iterator[tuple[str, int]]:
    """A service of its own process: its URL and its process id."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=url, n_workers=0)
        with local_service(settings, []) as (base, _):
            running = find(settings.home)
            assert running is not None
            yield base, running.pid


def register(base: str, *, bf16: bool) -> str:
    worker_id = uuid4().hex
    device = {"kind": "cpu", "name": "cpu", "memory_bytes": 0, "bf16": bf16}
    registration = {"worker_id": worker_id, "host": "here", "device": device, "versions": {}, "protocol": PROTOCOL}
    httpx2.post(f"{base}/v1/workers", json=registration).raise_for_status()
    return worker_id


def ask(base: str, worker_id: str, wait_seconds: float) -> list[dict[str, Any]]:
    body = {"slots": 1, "wait_seconds": wait_seconds}
    reply = httpx2.post(f"{base}/v1/workers/{worker_id}/dispatch", json=body, timeout=300).raise_for_status()
    found: list[dict[str, Any]] = reply.json()["assignments"]
    return found


def tell(base: str, held: dict[str, Any]) -> None:
    """Report once and end the trial."""
    body = {"reports": [make_report(held["lease_id"], held["token"], 1) | {"final": True}]}
    httpx2.post(f"{base}/v1/leases/report", json=body, timeout=300).raise_for_status()
    outcome = {"kind": "trial", "state": "COMPLETE", "device_seconds": 1.0}
    token = {"Lease-Token": held["token"]}
    path = f"{base}/v1/leases/{held['lease_id']}/tell"
    httpx2.post(path, json=outcome, headers=token, timeout=300).raise_for_status()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, of Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ROWS: dict[str, Callable[[str, Callable[[int], int]], dict[str, Any]]] = {
    "reports": measure_reports,
    "lists": measure_lists,
    "looks": measure_looks,
    "idle": measure_idle,
    "evaluations": measure_evaluations,
    "long_trial": measure_long_trial,
    "webhooks": measure_webhooks,
    "straggler": measure_straggler,
    "gp": measure_gp,
    "grid": measure_grid,
    "workers": measure_workers,
}


if __name__ == "__main__":
    main()
