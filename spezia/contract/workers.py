"""Workers as `GET /v1/workers` shows them to people."""

from datetime import datetime
from typing import Literal

from spezia.contract.protocol import Device
from spezia.contract.wire import Count, Reply


class Work(Reply):
    """One assignment that a worker carries out."""

    study: str
    """Name of the study."""
    kind: Literal["prepare", "probe", "small", "trial", "replay", "confirm", "score"]
    """Kind of the assignment: preparing a study, measuring its similarity, a small run, a trial, the replay of one, a
    run that confirms one, or scoring the winner on the test split."""
    number: Count | None
    """Number of the trial that is run or replayed; null for the other kinds of assignment."""
    attempt: Count
    """Number of the attempt at this assignment, from 1."""


class Worker(Reply):
    """A worker that the service has heard of lately."""

    worker_id: str
    """Random id of the worker's process."""
    host: str
    """Name of the worker's machine."""
    device: Device
    """Device that the worker trains on."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that the worker trains with, by name."""
    registered_at: datetime
    """Time of the worker's registration."""
    last_seen_at: datetime
    """Time of the worker's last registration, request for work or heartbeat."""
    work: list[Work]
    """Assignments that the worker carries out now; empty while it waits."""


class WorkerList(Reply):
    """One page of a list of workers."""

    workers: list[Worker]
    """Workers of this page, by id."""
    next_page_token: str | None
    """Value of ``page_token`` for the next page; null on the last page."""
