"""What one service process counts, on a registry of its own; docs/operations.md says what each metric is for.

Several processes of one service count in files, and each tells what all of them have counted (`service/serve.py`).

Labels have few values: never the name of a study, an id, or anything that a client may choose.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

# else each counter and histogram has a second series that says when it was first counted
disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets in seconds: from a statement to a lock that is waited for."""
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters and histograms of one service process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_calls()
        self._count_means()
        self._count_events()

    def _count_calls(self) -> None:
        """What is asked of this process."""
        self.requests = Counter(
            "spezia_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "spezia_request_seconds",
            "Time to answer a request, waiting for work and streaming included.",
            ("method", "route"),
            buckets=_FAST,
            registry=self.registry,
        )
        self.call_seconds = Histogram(
            "spezia_call_seconds",
            "Our own time for what a worker asks: dispatch (that found work), report, tell, heartbeat.",
            ("call",),
            buckets=_FAST,
            registry=self.registry,
        )

    def _count_means(self) -> None:
        """What it needs for its answers: samplers and the database."""
        self.proposal_seconds = Histogram(
            "spezia_proposal_seconds",
            "Time that the sampler took for the params of one trial, wherever it ran.",
            ("sampler",),
            buckets=_SLOW,
            registry=self.registry,
        )
        self.transaction_seconds = Histogram(
            "spezia_transaction_seconds",
            "Time of a transaction, from asking for its connection to its commit.",
            ("access",),
            buckets=_FAST,
            registry=self.registry,
        )
        self.database_errors = Counter(
            "spezia_database_errors",
            "Transactions that failed because the database was busy (locked, deadlock, no free connection), out of "
            "reach or damaged.",
            ("reason",),
            registry=self.registry,
        )

    def _count_events(self) -> None:
        """What has happened, to trials and beside them."""
        self.reports = Counter("spezia_reports", "Evaluations stored.", registry=self.registry)
        self.trials = Counter("spezia_trials_finished", "Trials that ended.", ("state",), registry=self.registry)
        self.failures = Counter(
            "spezia_failures",
            "Attempts that ended in a failure, whether or not the trial runs again.",
            ("failure_class",),
            registry=self.registry,
        )
        self.leases_reaped = Counter(
            "spezia_leases_reaped", "Leases taken back from workers that were silent.", registry=self.registry
        )
        self.webhook_attempts = Counter(
            "spezia_webhook_attempts", "Webhook messages posted, or tried to.", ("outcome",), registry=self.registry
        )
        self.reaper_success = Gauge(
            "spezia_reaper_last_success_timestamp_seconds",
            "When the reaper of this service last ended a round without an error, in Unix time.",
            multiprocess_mode="max",
            registry=self.registry,
        )

    @contextmanager
    def transaction(self, access: Literal["reading", "writing"]) -> Iterator[None]:
        """Measure how long the block, a transaction, takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.transaction_seconds.labels(access).observe(time.perf_counter() - began)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What the database says at one moment, of all services on it."""

    studies: Mapping[str, int]
    """Number of studies by state."""
    trials: Mapping[str, int]
    """Number of trials of studies that have not ended, by state."""
    paused_trials: int
    """Number of paused trials of studies that have not ended; they are WAITING."""
    workers: Mapping[str, int]
    """Number of workers that were seen lately, by kind of device."""
    leases: int
    """Number of live leases."""
    oldest_renewal_seconds: float
    """Seconds since the renewal of the lease that was renewed longest ago; 0 without leases."""
    oldest_expired_seconds: float
    """Seconds since the first lease expired that has expired and was not taken back; 0 without such a lease."""
    oldest_waiting_seconds: float
    """Seconds that the trial has waited for a worker which has waited longest in a running study; 0 without such a
    trial."""


class _FleetCollector(Collector):
    def __init__(self, fleet: Fleet | None) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges that the database tells."""
        fleet = self._fleet
        yield GaugeMetricFamily(
            "spezia_database_up", "Whether the database answered this scrape.", value=float(fleet is not None)
        )
        if fleet is None:
            return
        yield _by("spezia_studies", "Studies.", "state", fleet.studies)
        yield _by("spezia_trials", "Trials of studies that have not ended.", "state", fleet.trials)
        yield GaugeMetricFamily(
            "spezia_paused_trials",
            "Trials that the pruner rungs has paused, in studies that have not ended; they are WAITING.",
            value=fleet.paused_trials,
        )
        yield _by("spezia_workers", "Workers heard of in the last 90 s.", "device", fleet.workers)
        yield GaugeMetricFamily("spezia_leases", "Live leases.", value=fleet.leases)
        yield GaugeMetricFamily(
            "spezia_oldest_lease_renewal_age_seconds",
            "Time since the renewal of the lease that was renewed longest ago; 0 without leases.",
            value=fleet.oldest_renewal_seconds,
        )
        yield GaugeMetricFamily(
            "spezia_oldest_expired_lease_age_seconds",
            "Time since the first lease expired that has expired and was not taken back; 0 without such a lease.",
            value=fleet.oldest_expired_seconds,
        )
        yield GaugeMetricFamily(
            "spezia_oldest_waiting_trial_age_seconds",
            "How long the trial has waited for a worker that has waited longest in a running study; 0 without such a "
            "trial. Paused trials do not count.",
            value=fleet.oldest_waiting_seconds,
        )


def render(metrics: Metrics, fleet: Fleet | None) -> bytes:
    """Write all metrics in Prometheus' text format; ``fleet`` is ``None`` where the database did not answer."""
    scrape = CollectorRegistry()
    scrape.register(_FleetCollector(fleet))
    counted = metrics.registry
    if (folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) is not None:
        counted = CollectorRegistry()
        MultiProcessCollector(counted, folder)  # type: ignore[no-untyped-call]
    return generate_latest(counted) + generate_latest(scrape)


def _by(name: str, help_text: str, label: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
