"""What a study of 64 configurations costs under the pruner `rungs`, in whole trials."""

import random

import pytest
from fastapi.testclient import TestClient

from tests.service.rung_worker import RungWorker, rungs_spec

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

N_EPOCHS, PER_EPOCH = 4, 12
"""A whole trial has 48 steps: the rungs stand at 1, 4 and 16."""


def curve(number: int, step: int) -> float:
    """A loss that falls towards a floor of its own, with noise: early values say something and not all."""
    drawn = random.Random(f"{number}")
    floor, height, rate = drawn.uniform(0.2, 1.0), drawn.uniform(0.2, 1.0), drawn.uniform(0.3, 1.0)
    return floor + height * float(step) ** -rate + random.Random(f"{number} {step}").gauss(0, 0.02)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_a_study_of_64_configurations_costs_as_much_as_few_whole_trials(http: TestClient, n_workers: int) -> None:
    spec = rungs_spec(eta=4, top=3, n_trials=64, epochs=N_EPOCHS, training={"evaluations_per_epoch": PER_EPOCH})
    assert http.post("/v1/studies", json=spec).status_code == 201
    workers = [RungWorker(http) for _ in range(n_workers)]
    workers[0].prepare()
    is_done = False
    while not is_done:
        held = [(worker, worker.ask()) for worker in workers]
        for worker, assignment in held:
            if assignment is not None:
                worker.train(assignment, curve)
        is_done = all(assignment is None for _, assignment in held)
    shown = http.get("/v1/studies/feedback").json()
    assert shown["state"] == "complete"
    n_whole = sum(worker.n_steps for worker in workers) / (N_EPOCHS * PER_EPOCH)
    assert shown["trials"]["complete"] == 3
    assert n_whole <= 5.5
