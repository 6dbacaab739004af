"""A study that a hand works on over HTTP, for tests that look at its pages."""

from typing import Any

import httpx2

from tests.service.hand_worker import HandWorker, spec

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    "epochs": {"type": "int", "low": 2, "high": 8},
}
PRUNER = {"name": "median", "options": {"n_startup_trials": 2, "n_warmup_steps": 1}}


def begin(http: httpx2.Client, name: str, **changes: Any) -> HandWorker:
    """Post a study and prepare it; return the worker that did. Studies of earlier tests are cancelled: a worker takes
    whatever there is to do."""
    for earlier in http.get("/v1/studies").json()["studies"]:
        http.post(f"/v1/studies/{earlier['name']}/cancel").raise_for_status()
    worker = HandWorker(http)  # type: ignore[arg-type]
    body = spec(name=name, search_space=SPACE, pruner=PRUNER, baseline=True, n_trials=30) | changes
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()
    return worker


def run_trials(worker: HandWorker, n: int, n_steps: int = 5) -> None:
    """Run trials whose curves fall, each to another depth."""
    for number in range(n):
        depth = 0.3 + 0.1 * (7 * number % 5)
        worker.run_trial(*(depth + 1 / (step + 1) for step in range(n_steps)))


def say(http: httpx2.Client, held: dict[str, Any], text: str) -> None:
    """Append to the log of a trial."""
    answer = http.put(
        f"/v1/leases/{held['lease_id']}/log",
        content=text,
        headers={"Lease-Token": held["token"], "Content-Type": "text/plain"},
    )
    assert answer.status_code == 204, answer.text
