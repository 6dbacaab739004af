"""How far the search of each study has come, as the page of all studies shows it."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.lifecycle.studies.show_progress import StudyProgress, list_progress
from service.store.transaction import Viewer
from tests.service.hand_worker import HandWorker, spec


def progress(app: FastAPI, name: str = "feedback") -> StudyProgress:
    shown, _ = list_progress(app.state.parts.store, 10, None, (), "", "name")
    [found] = [one for one in shown if one.study.name == name]
    return found


def test_the_best_so_far_only_gets_better_and_is_compared_with_the_baseline(
    app: FastAPI, http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.post("/v1/studies", json=spec(n_trials=5, baseline=True))
    worker.prepare()
    before = progress(app)
    assert (before.baseline, before.best_so_far, before.gain) == (None, (), None)
    for value in (0.9, 0.5, 0.7, 0.4):
        worker.run_trial(value)
    found = progress(app)
    assert found.best_so_far == (0.9, 0.5, 0.5, 0.4)
    assert found.baseline == 0.9
    assert found.gain == pytest.approx(0.5)
    page = http.get("/", headers={"Accept": "text/html"}).text
    assert re.search(r'<svg class="spark"[^>]*aria-label="Best so far of feedback: from 0.9 to 0.4"', page)
    assert "+0.5" in page
    monkeypatch.setattr("service.store.study_progress.POINTS", 2)
    assert progress(app).best_so_far == (0.5, 0.4), "of more trials than points, each point stands for several"


def test_where_a_better_value_is_no_better_trial_there_is_no_picture(
    app: FastAPI, http: TestClient, worker: HandWorker
) -> None:
    limit = {"metric": "generalization_gap", "at_most": 0.3}
    assert http.post("/v1/studies", json=spec(constraints=[limit], baseline=True)).status_code == 201
    worker.prepare()
    for value in (0.9, 0.5):
        worker.run_trial(value)
    found = progress(app)
    assert (found.best_so_far, found.baseline) == ((), 0.9)


def test_the_progress_of_others_is_not_shown(app: FastAPI, http: TestClient) -> None:
    http.post("/v1/studies", json=spec())
    theirs = app.state.parts.store.seen_by(Viewer(owner="bob", sees_all=False))
    assert list_progress(theirs, 10, None, (), "", "name") == ([], None)
