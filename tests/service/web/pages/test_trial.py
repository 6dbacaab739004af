"""The pages of a trial, and of several side by side."""

import pytest
from fastapi.testclient import TestClient

from service.lifecycle.trials import show_trial
from service.web.pages import trial
from tests.service.hand_worker import HandWorker
from tests.service.web.pages.reading import begin, page, section

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_trial_page_shows_params_beside_the_best_the_baseline_and_the_nearest(
    http: TestClient, worker: HandWorker
) -> None:
    begin(http, worker, baseline=True, n_trials=6)
    for value in (0.9, 0.5, 0.7, 0.6):
        worker.run_trial(value)
    text = section(page(http, "/studies/feedback/trials/2"), "trial-params")
    assert "Param This trial best: 1 baseline near:" in text
    assert "validation_loss 0.7 0.5 0.9" in text


def test_failed_trial_says_why_and_offers_to_try_again(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.fail(worker.take(), "out_of_memory")
    html = page(http, "/studies/feedback/trials/0")
    assert "out_of_memory : it broke" in section(html, "trial-state")
    assert 'data-act="retry"' in html
    assert "1" in section(html, "attempts")
    assert "out_of_memory" in section(html, "attempts")


def test_running_trial_can_be_cancelled_and_an_ended_one_replayed(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    worker.take()
    ended, running = (page(http, f"/studies/feedback/trials/{number}") for number in (0, 1))
    assert 'data-act="replay"' in ended
    assert 'data-act="cancel"' not in ended
    assert 'data-act="cancel"' in running
    assert 'data-act="replay"' not in running


def test_replay_that_waits_says_so(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    assert "A replay runs an ended trial again" in section(page(http, "/studies/feedback/trials/0"), "replay")
    assert http.post("/v1/studies/feedback/trials/0/replay").status_code == 202
    assert "waits for a worker" in section(page(http, "/studies/feedback/trials/0"), "replay")


def test_trial_of_many_evaluations_says_that_not_all_are_drawn(
    http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(http, worker)
    worker.run_trial(*(1 / step for step in range(1, 9)))
    assert "are drawn" not in page(http, "/studies/feedback/trials/0")
    for module in (show_trial, trial):
        monkeypatch.setattr(module, "MAX_POINTS", 3)
    assert "Of 8 evaluations 3 are drawn" in page(http, "/studies/feedback/trials/0")


def test_two_to_five_trials_stand_side_by_side(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    worker.run_trial(0.4)
    for query in ("trials=0,1", "trials=0&trials=1"):
        html = page(http, f"/studies/feedback/compare?{query}")
        assert 'data-trials="0,1"' in html
        assert '<td class="num">0.5</td><td class="num">0.4</td>' in html


def test_what_cannot_be_compared_is_said(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    assert "Trials named: 1; give 2 to 5." in page(http, "/studies/feedback/compare?trials=3")
    assert "Trials named: 6; give 2 to 5." in page(http, "/studies/feedback/compare?trials=1,2,3,4,5,6")
    assert "has no trial 8" in page(http, "/studies/feedback/compare?trials=8,9")
    assert "named" not in page(http, "/studies/feedback/compare")
