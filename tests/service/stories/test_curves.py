"""The learning curves of a study, as pages draw them."""

from itertools import pairwise
from typing import Any

import pytest
from fastapi.testclient import TestClient

from spezia.contract.curves import Curves
from tests.service.hand_worker import HandWorker, evaluation, spec

CURVES = "/v1/studies/feedback/curves"


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(**changes)).status_code == 201
    worker.prepare()


def curves(http: TestClient, **query: Any) -> dict[str, Any]:
    answer = http.get(CURVES, params=query)
    assert answer.status_code == 200, answer.text
    return Curves.model_validate_json(answer.content).model_dump(mode="json")


def columns(answer: dict[str, Any]) -> list[Any]:
    return [answer[column] for column in ("numbers", "states", "steps", "values")]


def test_curves_are_columns_of_the_first_objective_or_of_any_metric(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    assert columns(curves(http)) == [[], [], [], []]
    worker.run_trial(0.5, 0.25)
    held = worker.take()
    worker.report(held, 1, 0.75)
    answer = curves(http)
    assert columns(answer) == [[0, 1], ["COMPLETE", "RUNNING"], [[1, 2], [1]], [[0.5, 0.25], [0.75]]]
    assert (answer["study"], answer["metric"], answer["direction"]) == ("feedback", "validation_loss", "minimize")
    other = curves(http, metric="train_loss")
    assert other["direction"] is None
    assert other["steps"] == answer["steps"]
    assert other["values"] == [[pytest.approx(0.4), pytest.approx(0.15)], [pytest.approx(0.65)]]
    assert columns(curves(http, metric="it's none"))[2:] == [[[], []], [[], []]]


def test_curves_after_a_sequence_are_of_trials_that_something_happened_to(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    worker.run_trial(0.5)
    before = curves(http)["sequence"]
    assert columns(curves(http, after=before)) == [[], [], [], []]
    held = worker.take()
    worker.report(held, 1, 0.75)
    since = curves(http, after=before)
    assert columns(since) == [[1], ["RUNNING"], [[1]], [[0.75]]]
    assert since["sequence"] > before
    worker.report(held, 2, 0.5)
    assert columns(curves(http, after=since["sequence"]))[2:] == [[[1, 2]], [[0.75, 0.5]]]
    assert columns(curves(http, after=before, trials="0")) == [[], [], [], []]


def test_a_trial_that_begins_anew_loses_its_values_in_every_metric(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    worker.report(held, 1, 0.75)
    before = curves(http)["sequence"]
    worker.release(held)
    again = worker.take()
    assert columns(curves(http, after=before))[2:] == [[[]], [[]]]
    assert columns(curves(http, metric="train_loss"))[2:] == [[[]], [[]]]
    worker.report(again, 1, 0.5)
    assert curves(http, metric="train_loss")["values"] == [[pytest.approx(0.4)]]


def test_bands_are_quantiles_over_all_trials_whichever_are_listed(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker, n_trials=6)
    for value in (0.1, 0.2, 0.3, 0.4):
        worker.run_trial(value, value / 2)
    worker.run_trial(0.5)
    answer = curves(http, bands=True, trials="1,4,77")
    assert answer["numbers"] == [1, 4]
    bands = answer["bands"]
    assert (bands["steps"], bands["n_trials"]) == ([1, 2], [5, 4])
    assert bands["p50"] == [pytest.approx(0.3), pytest.approx(0.125)]
    assert (bands["p10"][0], bands["p90"][0]) == (pytest.approx(0.14), pytest.approx(0.46))
    assert curves(http)["bands"] is None
    worker.run_trial(0.6)
    assert curves(http, bands=True)["bands"]["n_trials"] == [6, 4]
    assert curves(http, bands=True, metric="train_loss")["bands"]["p50"][1] == pytest.approx(0.025)


def test_the_etag_is_good_until_something_happens(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    etag = http.get(CURVES).headers["ETag"]
    unchanged = http.get(CURVES, headers={"If-None-Match": f'"other", {etag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    worker.report(held, 1, 0.5)
    changed = http.get(CURVES, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.headers["ETag"] == etag) == (200, False)


def test_a_long_curve_is_thinned_evenly(http: TestClient, worker: HandWorker) -> None:
    begin(http, worker)
    held = worker.take()
    for start in range(1, 2001, 200):
        reports = [evaluation(held, step, float(step)) for step in range(start, start + 200)]
        assert http.post("/v1/leases/report", json={"reports": reports}).status_code == 200
    for metric in ("validation_loss", "train_loss"):
        (steps,) = curves(http, metric=metric)["steps"]
        assert (len(steps), steps[0], steps[-1]) == (1000, 1, 2000)
        assert {after - before for before, after in pairwise(steps)} <= {1, 2, 3}
    assert len(curves(http, bands=True)["bands"]["steps"]) == 500


@pytest.mark.parametrize("query", [{"trials": "1,,2"}, {"trials": "-1"}, {"after": -1}, {"metric": 'a"b'}])
def test_a_question_that_makes_no_sense_names_its_parameter(http: TestClient, query: dict[str, Any]) -> None:
    answer = http.get(CURVES, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == list(query)
