"""Workers, as people see them."""

from datetime import datetime
from typing import Literal

from spezia.contract.protocol import Device
from spezia.contract.wire import Count, Reply


class Work(Reply):
    study: str
    kind: Literal["prepare", "small", "trial", "score"]
    number: Count | None
    """The trial's; null for ``prepare`` and ``score``."""
    attempt: Count


class Worker(Reply):
    worker_id: str
    host: str
    device: Device
    versions: dict[str, str]
    registered_at: datetime
    last_seen_at: datetime
    """Its last registration, request for work or heartbeat."""
    work: list[Work]
    """What it does now; empty: it waits."""


class WorkerList(Reply):
    workers: list[Worker]
    next_page_token: str | None
