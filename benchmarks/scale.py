"""Scale: a thousand simulated workers on several services that share one PostgreSQL, for as long as one likes.

    PYTHONPATH=. python benchmarks/scale.py [--workers 1000] [--services 2] [--studies 20] [--seconds 600]
        [--trial-seconds 60] [--push 40 30 20] [--push-seconds 90]

Workers speak the real protocol and sleep where they would train (`scale_worker.py`); studies share them as they come.
One JSON line a phase: ``waiting``, all workers in a request for work and no study there; ``steady``, trials of
``--trial-seconds`` for ``--seconds``; a ``push`` for each of ``--push``, with trials of so many seconds; and ``end``,
what is left in the database. What happens in the ``--settle`` seconds before a phase does not count in it. A line has
the rates that were offered and reached, what each call took by the services' own clock (p50 and p99 in milliseconds, of
their metrics) and as the workers see it, what services, PostgreSQL and this program used of the processor and of
memory, and every answer but 2xx.
"""

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from benchmarks.load import broken, call, service, study_spec
from benchmarks.processes import cpu_seconds, memory_mb, tree
from benchmarks.scale_worker import Pace, Tally, Worker, watch
from benchmarks.service_clock import Series, between, scrape
from spezia.contract.protocol import MAX_WAIT_SECONDS
from spezia.contract.study_spec import MAX_TRIALS
from tests import postgres

CONNECTIONS = 40
"""Of each service: PostgreSQL comes with 100."""
MEMORY_EVERY_SECONDS = 30.0
DATABASE = """SELECT pg_database_size(datname) AS bytes, sessions FROM pg_stat_database
WHERE datname = current_database()"""


class Fleet:
    """Services, their database and the workers of one run."""

    def __init__(self, options: argparse.Namespace, url: str, services: Sequence[tuple[int, int]], server: int) -> None:
        self.options = options
        self.url = url
        self.ports = [port for port, _ in services]
        self._services = {f"service {n}": [pid] for n, (_, pid) in enumerate(services)}
        self._server = server
        self.pace = Pace(options.trial_seconds, options.reports, MAX_WAIT_SECONDS)
        self.tally = Tally()
        self.n_errors = 0
        self.workers = [Worker(self._port(n), self.pace, self.tally, seed=n) for n in range(options.workers)]

    async def run(self) -> None:
        """Go through all phases."""
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(worker.run()) for worker in self.workers]
            while not all(worker.is_waiting for worker in self.workers):
                await asyncio.sleep(0.1)
            watchers = [
                group.create_task(watch(self._port(n), self.tally, notes_lags=n == 0))
                for n in range(self.options.watchers)
            ]
            await self._phase("waiting", self.options.idle_seconds)
            await asyncio.to_thread(self._create_studies)
            await self._phase("steady", self.options.seconds)
            for trial_seconds in self.options.push:
                self.pace.trial_seconds = trial_seconds
                await self._phase("push", self.options.push_seconds)
            self.pace.is_over = True
            self.pace.wait_seconds = 0.0
            await asyncio.wait(running)
            for watcher in watchers:
                watcher.cancel()

    def end(self) -> dict[str, Any]:
        """End all studies and return what they have come to."""
        self.n_errors += self.tally.take()["n_errors"]
        for name in self._names():
            call(self.ports[0], "POST", f"/v1/studies/{name}/cancel")
        shown = [call(self.ports[-1], "GET", f"/v1/studies/{name}") for name in self._names()]
        counts = [one["trials"] for one in shown]
        return {
            "states": sorted({one["state"] for one in shown}),
            "trials": {state: sum(one[state] for one in counts) for state in counts[0]},
            "n_errors": self.n_errors,
        }

    async def _phase(self, name: str, seconds: float) -> None:
        await asyncio.sleep(self.options.settle)
        self.tally.take()
        before, cpu, database = await asyncio.to_thread(self._measure)
        began_at = time.monotonic()
        memory = [await asyncio.to_thread(self._memory)]
        while (left := began_at + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(MEMORY_EVERY_SECONDS, left))
            memory.append(await asyncio.to_thread(self._memory))
        after, cpu_after, database_after = await asyncio.to_thread(self._measure)
        took = time.monotonic() - began_at
        seen, said = self.tally.take(), between(before, after)
        self.n_errors += seen["n_errors"]
        used = {who: cpu_after[who] - cpu[who] for who in cpu}
        row = {"phase": name, "workers": self.options.workers, "services": len(self.ports)}
        row |= {"studies": self.options.studies, "sampler": self.options.sampler, "seconds": round(took, 1)}
        if name != "waiting":
            row |= {
                "trial_seconds": self.pace.trial_seconds,
                "offered_trials_per_s": round(self.options.workers / self.pace.trial_seconds, 2),
                "trials_per_s": round(said["trials"] / took, 2),
                "reports_per_s": round(said["reports"] / took, 1),
                "bytes_per_trial": round((database_after["bytes"] - database["bytes"]) / max(1, said["trials"])),
            }
        row |= {"requests_per_s": round(said["requests"] / took, 1), **said, **seen}
        row |= {"cpu_seconds": {who: round(spent, 1) for who, spent in used.items()}}
        row |= {"memory_mb": {who: [one[who] for one in memory] for who in cpu}}
        row |= {"database_mb": round(database_after["bytes"] / 1e6, 1)}
        row |= {"connections_opened": database_after["sessions"] - database["sessions"]}
        print(json.dumps(row), flush=True)

    def _measure(self) -> tuple[Series, dict[str, float], dict[str, int]]:
        """What the services say, seconds of the processor, and the size of the database and the connections to it."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            [database] = connection.execute(DATABASE)
        return scrape(self.ports), {who: cpu_seconds(pids) for who, pids in self._pids().items()}, database

    def _memory(self) -> dict[str, float]:
        return {who: memory_mb(pids) for who, pids in self._pids().items()}

    def _pids(self) -> dict[str, list[int]]:
        """The processes of all who take part."""
        return self._services | {"postgresql": tree(self._server), "workers": [os.getpid()]}

    def _create_studies(self) -> None:
        for name in self._names():
            # of as many trials as there may be, so that it does not end
            spec = study_spec(name, self.options.sampler, MAX_TRIALS, n_startup_trials=self.options.workers)
            call(self.ports[0], "POST", "/v1/studies", spec)

    def _names(self) -> list[str]:
        return [f"scale-{n}" for n in range(self.options.studies)]

    def _port(self, n: int) -> int:
        return self.ports[n % len(self.ports)]


def main() -> None:
    options = parse()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres.own_server())
        url = stack.enter_context(postgres.database(server.url))
        with contextlib.ExitStack() as running:
            limit = {"SPEZIA_DATABASE_CONNECTIONS": str(CONNECTIONS)}
            services = [running.enter_context(service(folder, n, url, limit)) for n in range(options.services)]
            fleet = Fleet(options, url, services, server.pid)
            asyncio.run(fleet.run())
            ended = {"phase": "end", **fleet.end()}
        print(json.dumps(ended | {"violations": broken(url, folder)}), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--reports", type=int, default=20, help="of each trial")
    parser.add_argument("--trial-seconds", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the steady phase")
    parser.add_argument("--push", type=float, nargs="*", default=[], help="seconds of a trial, in further phases")
    parser.add_argument("--push-seconds", type=float, default=90.0, help="of each of these phases")
    parser.add_argument("--idle-seconds", type=float, default=30.0, help="of the phase without studies")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds before each phase that do not count")
    parser.add_argument("--watchers", type=int, default=4, help="readers of the events of all studies")
    return parser.parse_args()


if __name__ == "__main__":
    main()
