"""Runs under fresh seeds that confirm a winner, as a worker of the tests carries them out."""

from collections.abc import Mapping
from typing import Any

from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

SPREAD = (-0.01, 0.0, 0.01)
"""By how much the values of one trial differ between fresh seeds."""


def search(http: TestClient, worker: HandWorker, *values: float, **changes: Any) -> None:
    """Post a study that confirms its best two and the baseline, and run its trials; the first is the baseline."""
    body = {"confirm": {"top": 2, "seeds": 3}, "baseline": True, "n_trials": len(values)} | changes
    reply = http.post("/v1/studies", json=spec(**body))
    assert reply.status_code == 201, reply.text
    worker.prepare()
    for value in values:
        worker.run_trial(value)


def tell_run(worker: HandWorker, held: dict[str, Any], value: float) -> Any:
    """End a run under a fresh seed with a value."""
    outcome = {"kind": "confirm", "metrics": {"validation_loss": value}, "device_seconds": 0.5}
    return worker.tell(held, outcome)


def fail_run(worker: HandWorker, held: dict[str, Any], failure_class: str) -> Any:
    """End a run under a fresh seed with a failure."""
    failure = {"failure_class": failure_class, "message": "it broke"}
    return worker.tell(held, {"kind": "confirm", "failure": failure, "device_seconds": 0.5})


def run_all(worker: HandWorker, values: Mapping[int, float], n: int = 9) -> list[tuple[int, int]]:
    """Carry out ``n`` runs, the values of each trial around its own in ``values``; return trials and seeds."""
    done = []
    for _ in range(n):
        held = worker.take()
        assert held["kind"] == "confirm", held
        done.append((held["number"], held["fresh_seed"]))
        assert tell_run(worker, held, values[held["number"]] + SPREAD[held["fresh_seed"]]).status_code == 200
    return done


def confirmation(http: TestClient) -> dict[str, Any]:
    """Return what the runs have found, as the service shows it."""
    shown: dict[str, Any] = http.get("/v1/studies/feedback/best").json()["confirmation"]
    return shown


def state(http: TestClient) -> str:
    """Return the state of the study."""
    shown: str = http.get("/v1/studies/feedback").json()["state"]
    return shown
