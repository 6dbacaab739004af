"""Decisions, importances, tables, workers and pages: what a study shows of itself."""

import csv
import io
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec

STUDY = "/v1/studies/feedback"


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare()


def decisions(http: TestClient, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"{STUDY}/trials/{number}").json()["decisions"]
    return found


def test_a_median_decision_names_its_limit_rank_and_peers(http: TestClient, worker: HandWorker) -> None:
    options = {"n_startup_trials": 2, "n_warmup_steps": 0}
    begin(http, worker, n_trials=4, pruner={"name": "median", "options": options})
    worker.run_trial(0.5, 0.4)
    worker.fail(worker.take())
    worker.run_trial(0.7, 0.6)
    worker.run_trial(0.65, 0.9)
    (decision,) = decisions(http, 3)
    assert decision.pop("decided_at")
    assert "worse than 0.6" in decision.pop("reason")
    assert decision == {
        "attempt": 1,
        "step": 1,
        "pruner": "median",
        "value": 0.65,
        "threshold": 0.6,
        "rank": 2,
        "rung": None,
        "peers": [0, 2],
    }
    assert decisions(http, 0) == []


def test_a_halving_decision_names_its_rung(http: TestClient, worker: HandWorker) -> None:
    options = {"min_resource": 1, "reduction_factor": 2}
    begin(http, worker, pruner={"name": "successive-halving", "options": options})
    worker.run_trial(0.5, 0.4)
    worker.run_trial(0.9, 0.8)
    (decision,) = decisions(http, 1)
    assert (decision["pruner"], decision["rung"], decision["rank"], decision["peers"]) == (
        "successive-halving",
        0,
        2,
        [0],
    )


def test_a_replayed_report_is_decided_once(http: TestClient, worker: HandWorker) -> None:
    options = {"n_startup_trials": 1, "n_warmup_steps": 0}
    begin(http, worker, pruner={"name": "median", "options": options})
    worker.run_trial(0.5, 0.4)
    held = worker.take()
    assert [worker.report(held, 1, 0.9)["should_prune"] for _ in range(2)] == [True, True]
    assert len(decisions(http, 1)) == 1


def run_study(http: TestClient, worker: HandWorker, n_trials: int = 12) -> None:
    space = spec()["search_space"] | {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    begin(http, worker, n_trials=n_trials, search_space=space)
    for _ in range(n_trials):
        held = worker.take()
        worker.report(held, 1, (held["params"]["dropout"] - 0.1) ** 2, final=True)
        worker.finish(held)


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_the_parameter_that_matters_is_the_most_important(http: TestClient, worker: HandWorker, evaluator: str) -> None:
    run_study(http, worker)
    answers = [http.get(f"{STUDY}/importances", params={"evaluator": evaluator}).json() for _ in range(2)]
    shares = answers[0]["importances"]
    assert answers[0] == answers[1]
    assert list(shares) == ["dropout", "learning_rate"]
    assert sum(shares.values()) == pytest.approx(1)
    assert (answers[0]["evaluator"], answers[0]["n_trials"]) == (evaluator, 12)


def test_importances_of_too_little_say_what_is_missing(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_trials=5)
    for _ in range(3):
        worker.run_trial(0.5)
    few = http.get(f"{STUDY}/importances")
    assert (few.status_code, few.json()["code"]) == (409, "too-few-trials")
    assert "4 COMPLETE" in few.json()["detail"]
    worker.run_trial(0.5)
    assert "same value" in http.get(f"{STUDY}/importances").json()["detail"]
    assert http.get("/v1/studies/nobody/importances").json()["code"] == "study-not-found"


def test_the_table_has_a_row_a_trial_and_no_formulas(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.9, 0.8)
    worker.finish(worker.take(), "FAIL", failure_class="exception", message='=cmd|"x"!A1,\nsecond line')
    answer = http.get(f"{STUDY}/trials.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    first, second = csv.DictReader(io.StringIO(answer.text))
    assert (first["number"], first["state"], first["value"], first["step"]) == ("0", "COMPLETE", "0.8", "2")
    assert float(first["params.learning_rate"]) > 0
    assert (second["failure_class"], second["failure"]) == ("exception", '\'=cmd|"x"!A1,\nsecond line')
    assert http.get("/v1/studies/nobody/trials.csv").status_code == 404


def test_workers_are_listed_with_their_work_while_they_are_heard(
    http: TestClient, worker: HandWorker, clock: FakeClock
) -> None:
    idle = HandWorker(http)
    begin(http, worker)
    held = worker.take()
    shown = {one["worker_id"]: one for one in http.get("/v1/workers").json()["workers"]}
    assert shown[worker.worker_id]["work"] == [{"study": "feedback", "kind": "trial", "number": 0, "attempt": 1}]
    assert (shown[idle.worker_id]["work"], shown[idle.worker_id]["device"]["name"]) == ([], "a hand")
    http.post(f"{STUDY}/pause")
    for _ in range(3):
        clock.advance(40)
        worker.heartbeat(held)
        idle.dispatch()
    assert len(http.get("/v1/workers").json()["workers"]) == 2
    clock.advance(90.001)
    idle.dispatch()
    assert [one["worker_id"] for one in http.get("/v1/workers").json()["workers"]] == [idle.worker_id]


def test_workers_come_in_pages(http: TestClient) -> None:
    known = sorted(HandWorker(http).worker_id for _ in range(3))
    first = http.get("/v1/workers", params={"limit": 2}).json()
    rest = http.get("/v1/workers", params={"page_token": first["next_page_token"]}).json()
    assert [one["worker_id"] for one in first["workers"] + rest["workers"]] == known
    assert rest["next_page_token"] is None


@pytest.mark.parametrize("order_by", ["number", "value"])
def test_pages_of_trials_are_whole_though_trials_end_between_them(
    http: TestClient, worker: HandWorker, order_by: str
) -> None:
    begin(http, worker, n_trials=10)
    for value in (0.5, 0.3, 0.3, 0.9):
        worker.run_trial(value)
    worker.fail(worker.take())
    held = worker.take()
    query: dict[str, Any] = {"order_by": order_by, "limit": 2}
    first = http.get(f"{STUDY}/trials", params=query).json()
    worker.report(held, 1, 0.1, final=True)
    worker.finish(held)  # sorts before the first page by value: it is not seen, and shifts nobody
    seen, token = [trial["number"] for trial in first["trials"]], first["next_page_token"]
    while token:
        page = http.get(f"{STUDY}/trials", params=query | {"page_token": token}).json()
        seen += [trial["number"] for trial in page["trials"]]
        token = page["next_page_token"]
    assert seen == ([0, 1, 2, 3, 4, 5] if order_by == "number" else [1, 2, 0, 3, 4])


@pytest.mark.parametrize("token", ["x", "%", "W10", "bnVsbA", "WyJ2YWx1ZSIsICIwIiwgSW5maW5pdHld", "é" * 50])
def test_a_page_token_that_is_none_is_refused(http: TestClient, token: str) -> None:
    http.post("/v1/studies", json=spec())
    answer = http.get(f"{STUDY}/trials", params={"order_by": "value", "page_token": token})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "page_token")


def test_a_page_token_of_another_order_is_refused(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    worker.run_trial(0.4)
    token = http.get(f"{STUDY}/trials", params={"limit": 1}).json()["next_page_token"]
    answer = http.get(f"{STUDY}/trials", params={"order_by": "value", "page_token": token})
    assert answer.status_code == 422
