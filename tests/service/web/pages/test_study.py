"""The page of a study, as the real app answers it."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec
from tests.service.web.pages.reading import begin, page, section

EVIL = "<script>alert(1)</script><img src=x onerror='alert(2)'>"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_study_page_says_what_is_going_on_and_what_is_best(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, baseline=True, n_trials=5, timeout_seconds=3600.0)
    worker.run_trial(0.9, 0.8)
    assert "0.8 validation_loss no better than the baseline yet" in section(page(http, "/studies/feedback"), "best")
    worker.run_trial(0.7, 0.4)
    worker.take()
    html = page(http, "/studies/feedback")
    state, best = section(html, "state"), section(html, "best")
    assert "feedback running" in state
    assert "2 of 5 ended 2 complete 1 running" in state
    assert "of 1 h" in state
    assert "here · a hand: trial 2" in state
    assert "Best so far: trial 1 0.4 validation_loss +0.4 better than the baseline's 0.8" in best
    assert "TrainingArguments( output_dir='feedback'" in best
    assert "curl http://127.0.0.1/v1/studies/feedback/best" in best


def test_study_page_before_any_trial_says_what_is_missing(http: TestClient) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    html = page(http, "/studies/feedback")
    assert "no trial of study 'feedback' has completed yet" in section(html, "best")
    assert "A worker checks data and model first" in section(html, "trials")


def test_table_of_trials_is_filtered_sorted_and_cut_into_pages(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_trials=60)
    for number in range(52):
        worker.run_trial(1.0 - number / 100)
    html = page(http, "/studies/feedback?state=COMPLETE&order_by=value")
    numbers = [int(one) for one in re.findall(r'name="trials" value="(\d+)"', html)]
    assert numbers == list(range(51, 1, -1))
    (link,) = re.findall(r'href="([^"]*page_token[^"]*)"', html)
    second = page(http, unescape(link).split("#")[0])
    assert re.findall(r'name="trials" value="(\d+)"', second) == ["1", "0"]
    assert "First page" in second
    by_state = page(http, "/studies/feedback?order_by=state")
    assert re.findall(r'<th scope="col" aria-sort="ascending"><a data-swap href="[^"]*order_by=-state', by_state)
    assert "No trial is FAIL" in section(page(http, "/studies/feedback?state=FAIL"), "trials")


def test_table_of_trials_is_sorted_by_each_param_from_its_head(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    for _ in range(3):
        worker.run_trial(0.5)
    html = page(http, "/studies/feedback?order_by=params.learning_rate")
    (link,) = re.findall(r'aria-sort="ascending"><a data-swap href="([^"]*)">learning_rate', html)
    assert "learning_rate, upwards" in section(html, "trials")
    upwards = re.findall(r'name="trials" value="(\d)"', html)
    rates = [http.get(f"/v1/studies/feedback/trials/{one}").json()["params"]["learning_rate"] for one in upwards]
    assert rates == sorted(rates)
    downwards = page(http, unescape(link).split("#")[0])
    assert re.findall(r'name="trials" value="(\d)"', downwards) == upwards[::-1]


def test_page_token_of_another_order_shows_the_first_page(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    assert 'name="trials" value="0"' in page(http, "/studies/feedback?order_by=value&page_token=nonsense")


def test_decisions_name_rank_threshold_and_whom_a_trial_was_compared_with(http: TestClient, worker: HandWorker) -> None:
    pruner = {"name": "median", "options": {"n_startup_trials": 1, "n_warmup_steps": 0}}
    begin(http, worker, pruner=pruner)
    assert "has pruned no trial yet" in section(page(http, "/studies/feedback"), "decisions")
    worker.run_trial(0.5, 0.4)
    worker.run_trial(0.9, 0.8)
    text = section(page(http, "/studies/feedback"), "decisions")
    assert "1 1 0.9 0.5 2 of 2 0" in text
    assert "the median of 1 trial" in text


@pytest.mark.parametrize(
    ("verb", "forbidden"),
    [
        ("pause", set()),
        ("stop", {"pause", "stop", "cancel"}),
    ],
)
def test_buttons_that_the_state_forbids_say_why(
    http: TestClient, worker: HandWorker, verb: str, forbidden: set[str]
) -> None:
    begin(http, worker)
    assert http.post(f"/v1/studies/feedback/{verb}").status_code == 202
    html = page(http, "/studies/feedback")
    buttons = re.findall(r'<button[^>]*data-act="(\w+)"([^>]*)>', html)
    assert {name for name, rest in buttons if "data-why-not" in rest} == forbidden
    assert ("resume" if verb == "pause" else "pause") in {name for name, _ in buttons}


def test_advice_carries_the_edit_of_the_new_study(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_trials=8)
    for _ in range(6):
        worker.run_trial(0.9, 0.5, 0.1)
    best = http.get("/v1/studies/feedback/best").json()
    html = page(http, "/studies/feedback")
    assert html.count("data-clone ") == len(best["advice"])
    for advice in best["advice"]:
        assert advice["sentence"] in section(html, "next")


def test_what_people_and_workers_write_is_text_on_every_page(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, task="text-classification", model={"name": EVIL}, fixed={"lr_schedule": "linear"})
    held = worker.take()
    worker.report(held, 1, 0.5, **{EVIL: 1.0})
    assert worker.finish(held, "FAIL", failure_class="exception", message=EVIL).status_code == 200
    worker.run_trial(0.5)
    for path in ("", "/trials/0", "/trials/1", "/compare?trials=0,1", f"/compare?trials={EVIL}1,7"):
        html = page(http, f"/studies/feedback{path}")
        assert "<script>alert" not in html, path
        assert "<img src=x" not in html, path
    assert EVIL in section(page(http, "/studies/feedback/trials/0"), "trial-state")


def test_page_has_no_inline_script_or_style(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    for path in ("", "/trials/0", "/compare?trials=0,0"):
        html = page(http, f"/studies/feedback{path}")
        assert not re.findall(r"<[^>]*\s(?:style|on\w+)=", html), path
        assert not re.findall(r"<script(?![^>]*\bsrc=)", html), path
        assert "<style" not in html, path


def test_unknown_study_is_a_page_of_its_own(http: TestClient) -> None:
    reply = http.get("/studies/nowhere", headers={"Accept": "text/html"})
    assert reply.status_code == 404
    assert reply.headers["content-type"].startswith("text/html")


def test_several_objectives_show_their_pareto_front(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, objective=[{"metric": "validation_loss"}, {"metric": "train_loss"}])
    worker.run_trial(0.5)
    html = page(http, "/studies/feedback")
    assert "Pareto front 1 of 1 trial" in section(html, "best")
    assert 'data-plot="pareto-front"' in html
