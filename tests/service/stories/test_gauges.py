"""What `/metrics` reads from the database."""

from fastapi.testclient import TestClient

from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker
from tests.service.stories.test_metrics import read, scrape, start


def test_gauges_follow_the_database(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    assert read(http, "spezia_studies", state="running") == 0
    start(http, worker, n_trials=2, enqueue=[{"learning_rate": 1e-4}, {"learning_rate": 1e-5}])
    assert read(http, "spezia_oldest_lease_renewal_age_seconds") == 0
    clock.advance(10)
    held = worker.take()
    clock.advance(30)
    seen = scrape(http)
    expected: dict[tuple[str, tuple[str, str] | None], float] = {
        ("spezia_database_up", None): 1,
        ("spezia_studies", ("state", "running")): 1,
        ("spezia_studies", ("state", "complete")): 0,
        ("spezia_trials", ("state", "RUNNING")): 1,
        ("spezia_trials", ("state", "WAITING")): 1,
        ("spezia_workers", ("device", "cpu")): 1,
        ("spezia_workers", ("device", "cuda")): 0,
        ("spezia_leases", None): 1,
        ("spezia_oldest_lease_renewal_age_seconds", None): 30,
        ("spezia_oldest_expired_lease_age_seconds", None): 0,
        ("spezia_oldest_waiting_trial_age_seconds", None): 40,
    }
    for (name, label), value in expected.items():
        assert seen[name, frozenset([label] if label else [])] == value, name
    clock.advance(65)
    assert read(http, "spezia_oldest_expired_lease_age_seconds") == 5
    assert read(http, "spezia_workers", device="cpu") == 0
    worker.release(held)
    assert read(http, "spezia_leases") == 0
    assert read(http, "spezia_oldest_waiting_trial_age_seconds") == 105
    http.post("/v1/studies/feedback/pause")
    assert read(http, "spezia_oldest_waiting_trial_age_seconds") == 0
    http.post("/v1/studies/feedback/cancel")
    assert read(http, "spezia_trials", state="WAITING") == 0


def test_a_trial_that_is_given_back_waits_from_then_on(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    start(http, worker)
    clock.advance(100)
    held = worker.take()
    clock.advance(50)
    worker.release(held)
    clock.advance(7)
    assert read(http, "spezia_oldest_waiting_trial_age_seconds") == 7
