"""What a reader of a study's events costs the service: many of them read all events of one study at the same time.

    PYTHONPATH=. python benchmarks/event_readers.py [--events 2000] [--readers 20]

A real service on SQLite, and a study that has ended, so that each stream ends when all is told. Prints one JSON line:
seconds of the service's processor, and microseconds of it for each event that was told to a reader.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks.control_plane import STUDY, make_spec, opened
from benchmarks.load import call, service
from benchmarks.processes import cpu_seconds
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.settings import sqlite_url
from service.store import events, studies
from spezia.contract.event import ValueReported
from spezia.contract.study_spec import StudySpec


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--readers", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = sqlite_url(Path(folder) / "spezia.db")
        fill(url, options.events)
        with service(Path(folder), 0, url) as (port, pid):
            call(port, "POST", f"/v1/studies/{STUDY}/cancel")
            began_at, before = time.monotonic(), cpu_seconds([pid])
            n_told = sum(asyncio.run(read_all(port, options.readers)))
            spent, took = cpu_seconds([pid]) - before, time.monotonic() - began_at
    row = {"events": options.events, "readers": options.readers, "told": n_told, "seconds": round(took, 2)}
    print(json.dumps(row | {"cpu_seconds": round(spent, 2), "cpu_us_per_event": round(1e6 * spent / n_told, 1)}))


def fill(url: str, n_events: int) -> None:
    """Make a study in which so many values were reported."""
    with opened(url) as store:
        create_study(store, plan_study(StudySpec.model_validate(make_spec("random", 1))))
        with store.writing() as tx:
            study = studies.lock(tx, STUDY)
            for step in range(1, n_events + 1):
                events.add(tx, study.uuid, study.study_id, ValueReported(number=0, step=step, value=1 / step))


async def read_all(port: int, n_readers: int) -> list[int]:
    """Return how many events each reader was told."""
    return await asyncio.gather(*(read(port) for _ in range(n_readers)))


async def read(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/studies/{STUDY}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    n_told = 0
    while line := await reader.readline():
        n_told += line.startswith(b"data: ")
    writer.close()
    return n_told


if __name__ == "__main__":
    main()
