"""Where people read what a trial's learning curve says, and why a trial failed."""

import pytest
from fastapi.testclient import TestClient

from spezia.contract.advice import Change, with_changes
from spezia.contract.study_spec import StudySpec
from tests.service.hand_worker import HandWorker, spec


def test_trial_study_and_best_tell_it(http: TestClient, worker: HandWorker) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=6, fixed={"epochs": 3})).status_code == 201
    worker.prepare()
    worker.run_trial(0.8, 0.5, 0.9)
    detail = http.get("/v1/studies/feedback/trials/0").json()
    assert (detail["best_step"], detail["generalization_gap"]) == (2, pytest.approx(0.1))
    assert "the best evaluation was step 2 of 3" in detail["warnings"][0]
    listed = http.get("/v1/studies/feedback").json()
    assert listed["generalization_gap"] == pytest.approx(0.1)
    best = http.get("/v1/studies/feedback/best").json()
    assert any("set fixed.epochs to 2" in warning for warning in best["warnings"])


def test_advice_is_a_change_that_can_be_posted(http: TestClient, worker: HandWorker) -> None:
    posted = http.post("/v1/studies", json=spec(n_trials=1, fixed={"epochs": 3})).json()["spec"]
    worker.prepare()
    worker.run_trial(0.8, 0.5, 0.9)
    for path in ("best", "trials/0"):
        answer = http.get(f"/v1/studies/feedback/{path}").json()
        (advice,) = answer["advice"]
        assert advice["sentence"] in answer["warnings"]
        assert advice["changes"] == [{"field": "fixed.epochs", "value": 2}]
        changed = with_changes(StudySpec.model_validate(posted), [Change(**one) for one in advice["changes"]])
        assert changed.fixed == {"epochs": 2}
    again = changed.model_copy(update={"name": "again"}).model_dump(mode="json")
    assert http.post("/v1/studies", json=again).status_code == 201


def test_failed_trial_shows_class_message_and_last_log_lines(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    headers = {"Lease-Token": held["token"], "Content-Type": "text/plain"}
    for piece in range(30):
        http.put(f"/v1/leases/{held['lease_id']}/log", content=f"a {piece}\nb {piece}\n", headers=headers)
    worker.fail(held, "out_of_memory")
    detail = http.get("/v1/studies/feedback/trials/0").json()
    assert detail["failure"] == {"failure_class": "out_of_memory", "message": "it broke"}
    assert detail["log_tail"] == [f"{line} {piece}" for piece in range(20, 30) for line in "ab"]
    assert http.get("/v1/studies/feedback").json()["failures"] == {"out_of_memory": 1}
    worker.run_trial(0.5)
    assert http.get("/v1/studies/feedback/trials/1").json()["log_tail"] == []


def test_a_trial_tells_how_much_came_from_the_cache_of_frozen_blocks(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    worker.report(held, 1, 0.5, final=True, cached_rows=126)
    worker.finish(held)
    (evaluation,) = http.get("/v1/studies/feedback/trials/0").json()["intermediate_values"]
    assert evaluation["metrics"]["cached_rows"] == 126
    assert "cached_rows" not in http.get("/v1/studies/feedback/best").json()["metrics"]
