"""F45 and F47: numbers at the edge of what a float holds, through JSON, both databases and Optuna."""

import optuna
import pytest
from fastapi.testclient import TestClient

from tests.faults.test_databases import quiet_optuna
from tests.service.hand_worker import HandWorker, spec
from tests.stock import stock_storage

EDGES = [1e308, -1e308, -0.0, 5e-324, 0.1 + 0.2, 1 / 3, 1.7976931348623157e308, 2.2250738585072014e-308, 1e22]


@pytest.mark.parametrize("value", EDGES)
def test_f45_f47_a_value_comes_back_to_the_last_bit(
    value: float, http: TestClient, worker: HandWorker, database_url: str
) -> None:
    http.post("/v1/studies", json=spec(name="edge", n_trials=1))
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, value, final=True)
    worker.finish(held)
    shown = http.get("/v1/studies/edge/trials/0").json()
    # equal is to the last bit, but for the sign of zero, which SQLite does not keep
    assert shown["value"] == shown["intermediate_values"][0]["value"] == value
    assert http.get("/v1/studies/edge/best").json()["value"] == value
    with quiet_optuna(), stock_storage(database_url) as storage:
        assert optuna.load_study(study_name="edge", storage=storage).best_value == value


@pytest.mark.parametrize("steps", [2**53, 2**53 + 1, 2**63, 2**70, 10**400])
def test_number_of_optimizer_steps_is_kept_or_refused(steps: int, http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec(name="edge", n_trials=1))
    worker.prepare()
    held = worker.take()
    report = {"lease_id": held["lease_id"], "token": held["token"], "step": 1, "epoch": 1.0, "optimizer_steps": steps}
    report |= {"value": 0.5, "metrics": {}, "final": False}
    answer = http.post("/v1/leases/report", json={"reports": [report]})
    assert answer.status_code == (200 if steps == 2**53 else 422), answer.text
    if answer.status_code == 200:
        shown = http.get("/v1/studies/edge/trials/0").json()["intermediate_values"][0]
        assert shown["optimizer_steps"] == steps
    else:
        assert answer.json()["errors"][0]["field"] == "reports.0.optimizer_steps"
