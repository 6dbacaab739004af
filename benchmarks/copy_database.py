"""`spezia db copy` of a large database, killed on its way again and again, and made again.

    PYTHONPATH=. python benchmarks/copy_database.py [--trials 10000] [--studies 10] [--reports 5]
        [--kill-at 0.2 0.4 0.6 0.8 0.95]

Makes a database of SQLite by the service's own functions, copies it to an empty one of PostgreSQL by the command line,
and then to another one, where the copy is killed (SIGKILL) after each of these shares of the time that the whole one
took, and made again at last. After each kill the target must hold no row, or all of them if the kill came behind the
commit, and in the end all: they are read by the tables' types from both databases and compared, by this program and not
only by the command. Prints one JSON line; exits with 1 if anything is not so.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, func, select

from benchmarks.control_plane import make_report, make_spec, opened, registered
from service.files.folder_files import FolderFiles
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.search.propose.proposer import Proposer
from service.settings import sqlite_url
from service.store.copy_rows import all_tables, is_empty
from spezia.contract.outcomes import PreparedOutcome, TrialOutcome
from spezia.contract.protocol import Report
from spezia.contract.study_spec import StudySpec
from tests import postgres
from tests.fake_engine import FACTS


def main() -> None:
    options = parse()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = sqlite_url(home / "spezia.db")
        began_at = time.monotonic()
        fill(source, options.trials // options.studies, options.studies, options.reports)
        filled = time.monotonic() - began_at
        server = stack.enter_context(postgres.own_server()).url
        whole = stack.enter_context(postgres.database(server))
        seconds, code = copy(home, whole)
        cut = stack.enter_context(postgres.database(server))
        kills = [kill(home, cut, share * seconds) for share in options.kill_at]
        again, code_again = copy(home, cut)
        wanted = contents(source)
        n_rows = sum(sum(rows.values()) for rows in wanted.values())
        row = {"trials": options.trials, "studies": options.studies, "reports": options.reports}
        row |= {"rows": n_rows, "source_mb": round((home / "spezia.db").stat().st_size / 1e6, 1)}
        row |= {"filled_seconds": round(filled, 1), "seconds": round(seconds, 1), "seconds_again": round(again, 1)}
        row |= {"trials_per_s": round(options.trials / seconds), "rows_per_s": round(n_rows / seconds)}
        row |= {"memory_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)}
        row |= {"kills": kills, "differences": differences(wanted, whole), "after_kills": differences(wanted, cut)}
    print(json.dumps(row))
    is_well = code == code_again == 0 and not row["differences"] and not row["after_kills"]
    # a copy that is quicker than the first one has ended, whole, before it is to be killed
    ends = [(-signal.SIGKILL, 0), (-signal.SIGKILL, n_rows), (0, n_rows)]
    sys.exit(not (is_well and all((one["code"], one["rows"]) in ends for one in kills)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--reports", type=int, default=5, help="of each trial")
    parser.add_argument("--kill-at", type=float, nargs="*", default=[0.2, 0.4, 0.6, 0.8, 0.95])
    return parser.parse_args()


def fill(url: str, n_trials: int, n_studies: int, n_reports: int) -> None:
    """Carry out studies of so many trials each, with all that a service writes of them."""
    with opened(url) as store, tempfile.TemporaryDirectory() as folder:
        worker_id, proposer = registered(store), Proposer(store.metrics)
        for n in range(n_studies):
            spec = make_spec("random", n_trials) | {"name": f"study-{n}"}
            create_study(store, plan_study(StudySpec.model_validate(spec)))
            while found := dispatch(store, proposer, worker_id, 1).assignments:
                [held] = found
                outcome: Any = TrialOutcome(kind="trial", state="COMPLETE", device_seconds=1.0)
                if held.kind == "prepare":
                    outcome = PreparedOutcome(kind="prepare", facts=FACTS, device_seconds=1.0)
                else:
                    for step in range(1, n_reports + 1):
                        one = make_report(held.lease_id, held.token, step) | {"final": step == n_reports}
                        report(store, [Report.model_validate(one)])
                tell(store, proposer, FolderFiles(Path(folder)), held.lease_id, held.token, outcome)
        proposer.close()


def copy(home: Path, to: str) -> tuple[float, int]:
    """Run the command; return the seconds that it took, and its exit code."""
    began_at = time.monotonic()
    process = begin(home, to)
    code = process.wait()
    return time.monotonic() - began_at, code


def kill(home: Path, to: str, seconds: float) -> dict[str, Any]:
    """Kill the command so many seconds after its start; return what came of it."""
    process = begin(home, to)
    time.sleep(seconds)
    process.kill()
    code = process.wait()
    engine = create_engine(to)
    # PostgreSQL learns of the death of its client when it next reads or writes, and undoes the transaction then
    with engine.connect() as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while connection.exec_driver_sql(others).scalar_one():
            time.sleep(0.05)
        is_migrated = connection.dialect.has_table(connection, all_tables()[0].name)
        n_rows = 0 if not is_migrated or is_empty(connection) else sum(count(connection).values())
    engine.dispose()
    return {"at_s": round(seconds, 1), "code": code, "rows": n_rows}


def count(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in all_tables()
    }


def begin(home: Path, to: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "spezia.cli", "db", "copy", to]
    return subprocess.Popen(command, env=os.environ | {"SPEZIA_HOME": str(home)}, stdout=subprocess.DEVNULL)


def contents(url: str) -> dict[str, Counter[str]]:
    """Return all rows of a database by table, as the tables' types read them."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            table.name: Counter(repr(tuple(map(comparable, row))) for row in connection.execute(select(table)))
            for table in all_tables()
        }
    engine.dispose()
    return found


def comparable(value: Any) -> Any:
    is_aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if is_aware else value


def differences(wanted: dict[str, Counter[str]], url: str) -> dict[str, int]:
    """Return how many rows differ, by table; nothing where all are equal."""
    found = contents(url)
    return {name: n for name, rows in wanted.items() if (n := ((rows - found[name]) + (found[name] - rows)).total())}


if __name__ == "__main__":
    main()
