"""Load: many simulated workers, which compute nothing, on a real service over HTTP.

    PYTHONPATH=. python benchmarks/load.py [--workers 64] [--trials 2000] [--reports 20] [--services 1] [--read]

For each ``--database`` (sqlite, postgresql; both by default) it starts an embedded one, as durable as in production,
and ``--services`` processes of `spezia serve` without workers on it, runs one study to its end and prints one JSON
line: throughput, latencies in milliseconds as the workers see them, resident memory of each service in MB at 0, 25,
50, 75 and 100 % of the trials, errors (any answer but 2xx; must be zero), what stock Optuna read meanwhile
(``--read``), and which invariants of docs/reliability.md the database breaks in the end (must be none).
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.load_readers import Readers
from benchmarks.load_worker import Account, SimulatedWorker, call
from service.files.folder_files import FolderFiles
from service.lifecycle.model_folders import remove_unused_folders
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from tests import postgres
from tests.faults.invariants import violations

NAME = "load"
SPACE = {
    "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16, 32, 64]},
    "epochs": {"type": "int", "low": 1, "high": 5},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
    "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.3},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine", "constant"]},
}
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    options = parse()
    for database in options.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory() as folder, database_of(database, Path(folder)) as url:
            print(json.dumps({"database": database} | measure(options, url, Path(folder))), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--reports", type=int, default=20, help="of each trial")
    parser.add_argument("--services", type=int, default=1, help="processes; more than one on PostgreSQL only")
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--read", action="store_true", help="with `optuna` and optuna-dashboard, all the time")
    return parser.parse_args()


@contextlib.contextmanager
def database_of(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'spezia.db'}"
        return
    with postgres.own_server() as server, postgres.database(server.url) as url:
        yield url


def measure(options: argparse.Namespace, url: str, folder: Path) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        services = [stack.enter_context(service(folder, n, url)) for n in range(options.services)]
        call(services[0][0], "POST", "/v1/studies", study_spec(NAME, options.sampler, options.trials, options.workers))
        account = Account(options.trials, [pid for _, pid in services])
        workers = [
            SimulatedWorker(services[n % len(services)][0], NAME, options.reports, account)
            for n in range(options.workers)
        ]
        workers[0].prepare()
        readers = stack.enter_context(Readers(url)) if options.read else None
        started_at = time.monotonic()
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started_at
        state = call(services[0][0], "GET", f"/v1/studies/{NAME}")
    result = {"services": options.services, "workers": options.workers, "sampler": options.sampler}
    result |= {"state": state["state"], "trials": state["trials"], "seconds": round(seconds, 1)}
    result |= account.figures(seconds)
    if readers:
        result["readers"] = readers.figures()
    return result | {"violations": broken(url, folder)}


@contextlib.contextmanager
def service(
    folder: Path, number: int, url: str, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[int, int]]:
    """Run `spezia serve`; its port and its pid. All services share one folder of files.

    Args:
        more: Further variables of its environment.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "spezia.cli", "serve", "--workers", "0", "--port", str(port)]
    home = folder / f"home-{number}"
    settings = {"SPEZIA_HOME": str(home), "SPEZIA_DATABASE_URL": url, "SPEZIA_FILES_DIR": str(folder)}
    with (folder / f"service-{number}.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | settings | more, stderr=log)
    try:
        wait_until_ready(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            call(port, "GET", "/readyz")
        except ConnectionError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"the service ended with {process.returncode}")


def study_spec(name: str, sampler: str, n_trials: int, n_startup_trials: int) -> dict[str, Any]:
    """Return a study whose pruner decides at each report and prunes nearly nothing, so that trials have all theirs.

    Args:
        n_startup_trials: Complete trials before it prunes: after few, all of them might be good, and whatever is worse
            would be pruned until the end.
    """
    return {
        "name": name,
        "task": "text-classification",
        "model": {"name": "some/model"},
        "data": {"train": "train.csv"},
        "search_space": SPACE,
        "sampler": {"name": sampler},
        "pruner": {"name": "percentile", "options": {"percentile": 100.0, "n_startup_trials": n_startup_trials}},
        "n_trials": n_trials,
        "baseline": False,
    }


def broken(url: str, files: Path) -> list[str]:
    engine = open_engine(url)
    remove_unused_folders(Store(engine, DatabaseClock()), FolderFiles(files))
    found = violations(engine, files / "artifacts", is_quiet=True)
    engine.dispose()
    return found


if __name__ == "__main__":
    main()
