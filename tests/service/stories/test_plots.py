"""Plots of a study over HTTP."""

from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient

from service.search.plots.draw_plot import draw_plot
from spezia.contract.plot import Figure, PlotKind
from tests.service.hand_worker import HandWorker, spec

PLOTS = "/v1/studies/feedback/plots"
TWO = [{"metric": "validation_loss"}, {"metric": "accuracy"}]


def begin(http: TestClient, worker: HandWorker, **changes: Any) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=9, **changes)).status_code == 201
    worker.prepare()


@pytest.mark.parametrize("kind", get_args(PlotKind))
def test_each_kind_is_a_figure_as_soon_as_trials_are_complete(
    http: TestClient, worker: HandWorker, kind: PlotKind
) -> None:
    begin(http, worker, objective=TWO)
    early = http.get(f"{PLOTS}/{kind}")
    assert (early.status_code, early.json()["code"]) == (409, "too-few-trials")
    for value in (0.4, 0.3, 0.2, 0.1):
        held = worker.take()
        worker.report(held, 1, value, final=True, accuracy=value)
        worker.finish(held)
    answer = http.get(f"{PLOTS}/{kind}", params={"objective": "accuracy"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert Figure.model_validate_json(answer.content).data


def test_a_plot_is_drawn_anew_when_something_has_happened(
    http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[PlotKind] = []

    def counted(*asked: Any) -> bytes:
        drawn.append(asked[2])
        return draw_plot(*asked)

    monkeypatch.setattr("service.lifecycle.studies.show_plot.draw_plot", counted)
    begin(http, worker)
    worker.run_trial(0.5)
    first = [http.get(f"{PLOTS}/{kind}").content for kind in ("history", "slice", "history", "slice")]
    assert drawn == ["history", "slice"]
    assert first[0] == first[2] != first[1]
    worker.run_trial(0.4)
    assert http.get(f"{PLOTS}/history").content != first[0]
    assert drawn == ["history", "slice", "history"]


@pytest.mark.parametrize(("path", "field"), [("history?objective=recall", "objective"), ("pie", "kind")])
def test_a_plot_of_nothing_known_is_refused(http: TestClient, worker: HandWorker, path: str, field: str) -> None:
    begin(http, worker)
    answer = http.get(f"{PLOTS}/{path}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
