"""What services say of themselves in their metrics between two moments, summed over all of them."""

import math
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values of all series by name and labels."""

_ROUTES = {
    "report": "/v1/leases/report",
    "heartbeat": "/v1/leases/heartbeat",
    "tell": "/v1/leases/{lease_id}/tell",
    "log": "/v1/leases/{lease_id}/log",
    "upload": "/v1/leases/{lease_id}/artifacts/{file:path}",
    "register": "/v1/workers",
}


def scrape(ports: Sequence[int]) -> Series:
    """Return the sum of all series over services."""
    total: Series = {}
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series = sample.name, frozenset(sample.labels.items())
                total[series] = total.get(series, 0.0) + sample.value
    return total


def between(before: Series, after: Series) -> dict[str, Any]:
    """Return what was called, how often, and how long it took in milliseconds.

    A dispatch is one that found work, without the wait for it; of all others it is the whole request. Quantiles are
    interpolated within a bucket of the histogram, as Prometheus does.
    """
    grown = {series: value - before.get(series, 0.0) for series, value in after.items()}
    calls = {call: _figures(grown, "spezia_request_seconds", route=route) for call, route in _ROUTES.items()}
    calls["dispatch"] = _figures(grown, "spezia_call_seconds", call="dispatch")
    for access in ("reading", "writing"):
        calls[f"{access} transaction"] = _figures(grown, "spezia_transaction_seconds", access=access)
    calls["proposal"] = _figures(grown, "spezia_proposal_seconds")
    return {
        "requests": int(_sum(grown, "spezia_requests_total")),
        "failed_requests": int(
            sum(
                value
                for (name, labels), value in grown.items()
                if name == "spezia_requests_total" and not dict(labels)["status"].startswith("2")
            )
        ),
        "database_errors": int(_sum(grown, "spezia_database_errors_total")),
        "leases_reaped": int(_sum(grown, "spezia_leases_reaped_total")),
        "trials": int(_sum(grown, "spezia_trials_finished_total")),
        "reports": int(_sum(grown, "spezia_reports_total")),
        "server_ms": {call: found for call, found in sorted(calls.items()) if found is not None},
    }


def quantile(cumulative: Mapping[float, float], share: float) -> float:
    """Return a quantile of a histogram: numbers of observations by the upper bounds that they do not exceed.

    What lies above the largest finite bound counts as that bound.
    """
    bounds = sorted(cumulative)
    wanted = share * cumulative[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= wanted and not math.isinf(bound):
            inside = cumulative[bound] - below
            return bound if inside == 0 else lower + (bound - lower) * (wanted - below) / inside
        if math.isinf(bound):
            return lower
        lower, below = bound, cumulative[bound]
    return lower


def _figures(grown: Series, histogram: str, **wanted: str) -> dict[str, float] | None:
    cumulative: dict[float, float] = {}
    for (name, labels), value in grown.items():
        by_label = dict(labels)
        if name == f"{histogram}_bucket" and all(by_label.get(label) == text for label, text in wanted.items()):
            bound = float(by_label["le"])
            cumulative[bound] = cumulative.get(bound, 0.0) + value
    n = int(cumulative.get(math.inf, 0))
    if n == 0:
        return None
    return {
        "n": n,
        "p50": round(1000 * quantile(cumulative, 0.5), 1),
        "p99": round(1000 * quantile(cumulative, 0.99), 1),
    }


def _sum(grown: Series, name: str) -> float:
    return sum(value for (own, _), value in grown.items() if own == name)
