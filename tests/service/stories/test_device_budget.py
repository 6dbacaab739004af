"""device_seconds: reserved when a trial is dispatched, never exceeded beyond what was reserved."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.held_trial import let_pass

STUDY = "/v1/studies/feedback"


def begin(http: TestClient, worker: HandWorker, device_seconds: float, n_trials: int = 20, **changes: Any) -> None:
    """Post a study with trials of one epoch and have it prepared."""
    body = spec(**{"n_trials": n_trials, "device_seconds": device_seconds, "fixed": {"epochs": 1}} | changes)
    assert http.post("/v1/studies", json=body).status_code == 201
    worker.prepare()


def run(worker: HandWorker, held: dict[str, Any], seconds: float) -> None:
    worker.report(held, 1, 0.5, final=True)
    outcome = {"kind": "trial", "state": "COMPLETE", "device_seconds": seconds}
    assert worker.tell(held, outcome).status_code == 200


def cut_off(worker: HandWorker, held: dict[str, Any], seconds: float) -> None:
    failure = {"failure_class": "budget", "message": "its seconds were up"}
    outcome = {"kind": "trial", "state": "FAIL", "failure": failure, "device_seconds": seconds}
    assert worker.tell(held, outcome).status_code == 200


def test_first_trials_reserve_a_quarter_of_what_is_left(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    assert [HandWorker(http).take()["seconds_left"] for _ in range(3)] == [25.0, 18.75, 14.0625]


def test_first_trials_reserve_an_equal_share_at_least(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0, n_trials=2)
    assert [HandWorker(http).take()["seconds_left"] for _ in range(2)] == [50.0, 50.0]


def test_no_more_trials_start_that_are_not_known_than_get_a_twentieth(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0, n_trials=100)
    workers = [HandWorker(http) for _ in range(8)]
    held = [(one, assignment) for one in workers for assignment in one.dispatch()]
    assert len(held) == 6
    first_worker, first = held[0]
    assert workers[-1].dispatch() == []
    first_worker.report(first, 1, 0.5)
    assert len(workers[-1].dispatch()) == 1, "a first report tells how long trials take"


def test_what_runs_is_measured_by_its_reports(http: TestClient, worker: HandWorker, clock: FakeClock) -> None:
    begin(http, worker, 100.0, n_trials=100, fixed={"epochs": 5})
    held = worker.take()
    clock.advance(2.0)
    worker.report(held, 1, 0.5)
    clock.advance(1.0)
    assert HandWorker(http).take()["seconds_left"] == 1.5 * 2.0 * 5


def test_later_trials_reserve_what_the_slowest_took_and_half_more(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    run(worker, worker.take(), 8.0)
    run(worker, worker.take(), 4.0)
    assert worker.take()["seconds_left"] == 12.0


def test_later_trials_reserve_an_equal_share_at_least(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    run(worker, worker.take(), 0.5)
    assert worker.take()["seconds_left"] == pytest.approx(99.5 / 19)


def test_a_short_first_trial_does_not_starve_the_later_ones(http: TestClient, worker: HandWorker) -> None:
    epochs = {"epochs": {"type": "int", "low": 1, "high": 50}}
    begin(http, worker, 100_000.0, search_space=epochs, fixed={})
    run(worker, worker.take(), 10.0)
    while found := worker.dispatch():
        seconds = 500.0
        if found[0]["seconds_left"] < seconds:
            cut_off(worker, found[0], found[0]["seconds_left"])
        else:
            run(worker, found[0], seconds)
    study = http.get(STUDY).json()
    assert (study["state"], study["trials"]["complete"]) == ("complete", 20)


def test_trials_that_are_cut_off_do_not_fail_a_study(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    while found := worker.dispatch():
        cut_off(worker, found[0], found[0]["seconds_left"])
    study = http.get(STUDY).json()
    assert (study["state"], study["failure"]) == ("complete", None)
    n_trials = study["trials"]["fail"]
    says = f"no trial completed: the time that the study's limits left them was up for {n_trials} of {n_trials} trials"
    assert says in study["warnings"][-1]
    assert says in http.get(STUDY + "/best").json()["detail"]


def test_a_lost_attempt_counts_at_most_its_reservation(
    http: TestClient, worker: HandWorker, beating_store: Store, clock: FakeClock
) -> None:
    begin(http, worker, 100.0)
    assert worker.take()["seconds_left"] == 25.0
    assert let_pass(beating_store, clock, LEASE_SECONDS + 1) == 1
    assert http.get(STUDY + "/trials/0").json()["attempts"][0]["device_seconds"] == 25.0
    assert HandWorker(http).take()["seconds_left"] == 18.75


def test_nothing_starts_that_what_is_left_does_not_do_for(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 30.0)
    run(worker, worker.take(), 10.0)  # the next reserves 15 of the 20 that are left
    held = worker.take()
    assert HandWorker(http).dispatch() == []
    run(worker, held, 5.0)  # gives 10 of its 15 back: exactly enough for one more
    held = worker.take()
    run(worker, held, 1.0)
    held = worker.take()
    assert held["seconds_left"] == 14.0, "less than 15, and nobody else who could give more back"
    run(worker, held, 13.5)
    study = http.get(STUDY).json()
    assert (study["state"], study["trials"]["complete"]) == ("complete", 4), "less is left than the quickest took"


def test_used_and_reserved_seconds_never_exceed_the_budget(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 50.0)
    used, live = 0.0, []
    workers = [HandWorker(http) for _ in range(4)]
    for turn in range(12):
        one = workers[turn % 4]
        live += [(one, held) for held in one.dispatch()]
        assert used + sum(held["seconds_left"] for _, held in live) <= 50.0 + 1e-9
        if turn % 2 and live:
            owner, held = live.pop(0)
            run(owner, held, held["seconds_left"])
            used += held["seconds_left"]
    assert used > 25.0


def test_a_trial_that_overran_makes_the_next_reservation_larger(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    cut_off(worker, worker.take(), 25.0)
    assert worker.take()["seconds_left"] == 37.5


def test_a_worker_that_asks_again_has_used_some_of_its_reservation(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    begin(http, worker, 100.0)
    worker.take()
    clock.advance(10)
    assert worker.take()["seconds_left"] == 15.0


def test_the_study_timeout_counts_where_it_is_nearer(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0, timeout_seconds=5.0)
    assert worker.take()["seconds_left"] == 5.0


@pytest.mark.parametrize(("seconds", "state"), [(30.0, 409), (200.0, 200)])
def test_a_spent_budget_has_to_be_raised_with_the_trials(
    http: TestClient, worker: HandWorker, seconds: float, state: int
) -> None:
    begin(http, worker, 20.0)
    run(worker, worker.take(), 20.0)
    assert http.get(STUDY).json()["state"] == "complete"
    answer = http.patch(STUDY, json={"n_trials": 21, "device_seconds": seconds})
    assert answer.status_code == state, answer.text


def test_lowering_the_budget_ends_a_study_that_has_used_it(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, 100.0)
    run(worker, worker.take(), 20.0)
    assert http.patch(STUDY, json={"device_seconds": 20.0}).json()["state"] == "complete"


@pytest.mark.parametrize(("value", "state"), [(0.4, "complete"), (0.4000001, "running")])
def test_a_target_is_reached_at_its_value_and_not_before(
    http: TestClient, worker: HandWorker, value: float, state: str
) -> None:
    http.post("/v1/studies", json=spec(target_value=0.4))
    worker.prepare()
    worker.run_trial(value)
    assert http.get(STUDY).json()["state"] == state


@pytest.mark.parametrize(("n_trials", "limit"), [(25, 5), (26, 6)])
def test_the_failure_budget_is_five_or_a_fifth(http: TestClient, worker: HandWorker, n_trials: int, limit: int) -> None:
    http.post("/v1/studies", json=spec(n_trials=n_trials))
    worker.prepare()
    for _ in range(limit - 1):
        worker.fail(worker.take())
    worker.fail(worker.take(), "diverged")
    assert http.get(STUDY).json()["state"] == "running"
    worker.fail(worker.take())
    assert http.get(STUDY).json()["state"] == "failed"
