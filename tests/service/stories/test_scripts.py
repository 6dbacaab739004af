"""A script's params have names of its own: everything that follows its trials must do with them."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.search.results.edges import edges
from spezia.cli.result import show_result
from spezia.cli.tables import show_validation, trials_table
from spezia.client import Client
from spezia.client.progress import watch
from spezia.contract.study_spec import StudySpec
from spezia.terminal.screen import Screen
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec

SPACE: dict[str, Any] = {
    "depth": {"type": "int", "low": 2, "high": 5},
    "eta": {"type": "float", "low": 1e-3, "high": 0.1, "log": True},
    "subsample": {"type": "float", "low": 0.5, "high": 1.0},
    "n_trees": {"type": "categorical", "choices": [50, 100, 200]},
    "booster": {"type": "categorical", "choices": ["gbtree", "dart"]},
    "rate_drop": {"type": "float", "low": 0.0, "high": 0.4, "when": {"booster": "dart"}},
}
AT_EDGES: dict[str, Any] = {
    "depth": 5,
    "eta": 0.1,
    "subsample": 1.0,
    "n_trees": 200,
    "booster": "dart",
    "rate_drop": 0.4,
}
PLAIN = {"depth": 3, "eta": 0.01, "subsample": 0.7, "n_trees": 100, "booster": "gbtree"}


def trees(**changes: Any) -> dict[str, Any]:
    """A study of a script that grows trees; its last trial is at the edges of all ranges."""
    enqueue = [PLAIN | {"depth": 2 + number % 4} for number in range(5)] + [AT_EDGES]
    return (
        spec(
            task="script",
            script="trees.py",
            model=None,
            data=None,
            search_space=SPACE,
            fixed={"threads": 4},
            objective={"metric": "r2", "direction": "maximize"},
            n_trials=6,
            enqueue=enqueue,
        )
        | changes
    )


def run(http: TestClient, worker: HandWorker) -> None:
    """Run the whole study; each trial is better than the one before, and only some evaluations tell the rmse."""
    assert http.post("/v1/studies", json=trees()).status_code == 201
    worker.prepare(classes=[], train_rows=0, blocks=None, model_sha256="")
    for number in range(6):
        held = worker.take()
        for step in (1, 2):
            told = {"rmse": 1.0 - 0.1 * number} if step == 2 else {}
            answer = worker.report(held, step, 0.1 * number + 0.01 * step, final=step == 2, **told)
        if answer["keep_model"]:
            assert worker.upload(held, "trees.bin", b"leaves").status_code == 204
        assert worker.finish(held).status_code == 200


def test_every_answer_after_the_trials_knows_the_names(http: TestClient, worker: HandWorker) -> None:
    run(http, worker)
    path = "/v1/studies/feedback"
    best = http.get(f"{path}/best").json()
    assert (best["number"], best["params"]) == (5, AT_EDGES)
    assert "set search_space.depth.high to" in " ".join(best["warnings"])
    assert http.get(f"{path}/trials").json()["trials"][5]["params"] == AT_EDGES
    for number in range(6):
        assert http.get(f"{path}/trials/{number}").status_code == 200
    assert http.get(f"{path}/importances").json()["importances"].keys() == PLAIN.keys()
    rows = list(csv.DictReader(io.StringIO(http.get(f"{path}/trials.csv").text)))
    assert (rows[5]["params.depth"], rows[5]["params.rate_drop"]) == ("5", "0.4")
    card = (Path(best["model_directory"]) / "README.md").read_text()
    assert "| depth | 5 |" in card
    assert "| threads | 4 |" in card


def test_the_command_line_shows_the_names(http: TestClient, worker: HandWorker) -> None:
    run(http, worker)
    screen = io.StringIO()
    console = Screen(file=screen, width=200)
    with Client(URL, transport=http._transport) as client:
        ended = watch(client, "feedback", console)
        show_result(client.best("feedback"), ended, console)
        console.print(trials_table(list(client.list_trials("feedback"))))
        show_validation(client.validate(ended.spec), console)
    assert "rate_drop" in screen.getvalue()
    assert "depth=5" in screen.getvalue()


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ({"type": "int", "low": 2, "high": 5}, 5, "set search_space.size.high to 8"),
        ({"type": "int", "low": 2, "high": 5}, 2, "set search_space.size.low to 1"),
        ({"type": "int", "low": 1, "high": 5}, 1, None),
        ({"type": "int", "low": -4, "high": 5}, -4, "set search_space.size.low to -13"),
        ({"type": "float", "low": 0.0, "high": 0.5}, 0.5, "set search_space.size.high to 1"),
        ({"type": "float", "low": 0.0, "high": 1.0}, 1.0, None),
        ({"type": "float", "low": 0.0, "high": 1.0}, 0.0, None),
        ({"type": "float", "low": -1e308, "high": 7e307}, 7e307, None),
        ({"type": "categorical", "choices": [50, 100, 200]}, 200, "add 400 to search_space.size.choices"),
        ({"type": "categorical", "choices": [1, 2, 4]}, 1, None),
        ({"type": "categorical", "choices": [-1, -2, -4]}, -1, None),
        ({"type": "categorical", "choices": [True, False]}, True, None),
    ],
)
def test_zero_and_one_are_the_natural_ends_of_a_param_of_an_unknown_name(
    entry: dict[str, Any], value: Any, said: str | None
) -> None:
    study = StudySpec.model_validate(trees(search_space={"size": entry}, fixed={}, enqueue=[]))
    found = edges(study, {"size": value}, None)
    assert (said in str(found[0])) if said else (found == [])


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**70, 10**400])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("fixed.threads", lambda number: {"fixed": {"threads": number}}),
        (
            "search_space.size.choices.1",
            lambda number: {"search_space": {"size": {"type": "categorical", "choices": [1, number]}}, "enqueue": []},
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies:validate"])
def test_whole_number_that_json_does_not_keep_is_refused(
    http: TestClient, path: str, field: str, change: Any, number: int
) -> None:
    answer = http.post(path, json=trees(**change(number)))
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert http.get("/v1/studies").json()["studies"] == []


@pytest.mark.parametrize("number", [2**53, -(2**53)])
def test_whole_number_that_json_keeps_is_kept(http: TestClient, number: int) -> None:
    assert http.post("/v1/studies", json=trees(fixed={"threads": number})).json()["spec"]["fixed"]["threads"] == number
