"""Pilots, small runs before full trials, as a worker of the tests runs them."""

from typing import Any

from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

SMALL = {"fraction": 0.25, "trials": 3}


def begin_with_pilots(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    """Post a study that begins with three pilots, and prepare it."""
    body = spec(n_trials=4, start_small=SMALL) | changes
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()


def study(http: TestClient) -> dict[str, Any]:
    """Return the study as the service shows it."""
    shown: dict[str, Any] = http.get("/v1/studies/feedback").json()
    return shown


def tell_pilot(worker: HandWorker, held: dict[str, Any], value: float) -> Any:
    """End a pilot with a value."""
    outcome = {"kind": "small", "metrics": {"validation_loss": value}, "device_seconds": 0.5}
    return worker.tell(held, outcome)


def fail_pilot(worker: HandWorker, held: dict[str, Any], failure_class: str) -> Any:
    """End a pilot with a failure."""
    failure = {"failure_class": failure_class, "message": "it broke"}
    return worker.tell(held, {"kind": "small", "failure": failure, "device_seconds": 0.5})


def run_pilots(worker: HandWorker, *values: float) -> list[dict[str, Any]]:
    """Take as many pilots as there are values, and end each with its value."""
    held = []
    for value in values:
        held.append(worker.take())
        assert held[-1]["kind"] == "small"
        assert tell_pilot(worker, held[-1], value).status_code == 200
    return held
