"""Time that passes while the service reaps, and what it shows of a trial meanwhile."""

from typing import Any

from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import REAP_SECONDS
from service.lifecycle.leases.reap import reap
from service.store.store import Store
from tests.conftest import FakeClock


def let_pass(store: Store, clock: FakeClock, seconds: float) -> int:
    """Let time pass while the service beats; return how many leases were reaped."""
    reaped = 0
    while seconds > 0:
        clock.advance(min(seconds, REAP_SECONDS))
        seconds -= REAP_SECONDS
        reaped += reap(store)
    return reaped


def trial(http: TestClient, number: int = 0) -> dict[str, Any]:
    """Return a trial of the study as the service shows it."""
    detail: dict[str, Any] = http.get(f"/v1/studies/feedback/trials/{number}").json()
    return detail
