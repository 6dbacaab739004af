"""What each task may name, and a study of a person's own script."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from spezia.contract.study_spec import StudySpec
from spezia.contract.tasks import TASKS, TRAINED_TASKS
from tests.service.hand_worker import HandWorker, spec

LM = {"task": "causal-lm"}
DEPTH = {"depth": {"type": "int", "low": 1, "high": 9}}


def script(**changes: Any) -> dict[str, Any]:
    """A study of a script that makes trees."""
    body = spec(
        task="script", script="trees.py", search_space=DEPTH, objective={"metric": "r2", "direction": "maximize"}
    )
    del body["model"], body["data"]
    return body | changes


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        spec(data={"train": "a", "columns": {"txt": "b"}}),
        "data.columns.txt",
        "text-classification has no column txt; did",
    ),
    (
        spec(**LM, data={"train": "a", "columns": {"label": "b"}}),
        "data.columns.label",
        "choose from completion, messages, prompt, text",
    ),
    (
        spec(**LM, data={"train": "a", "columns": {"text": "b", "prompt": "c"}}),
        "data.columns",
        "these columns cannot be combined; give text, or prompt and completion, or messages",
    ),
    (
        spec(task="image-classification", data={"train": "a", "columns": {"text_pair": "b"}}),
        "data.columns.text_pair",
        "image-classification has no column text_pair",
    ),
    (spec(data={"train": "a", "columns": "b"}), "data.columns", "must be a mapping"),
    (
        spec(task="text-regression", data={"train": "a", "label_separator": "|"}),
        "data.label_separator",
        "several classes per text, not text-regression; drop label_separator",
    ),
    (
        spec(**LM, objective={"metric": "accuracy"}),
        "objective.metric",
        "a metric of text-classification, token-classification, image-classification, not of causal-lm; use one of ",
    ),
    (spec(**LM, objective={"metric": "perplexty"}), "objective.metric", "unknown metric; did you mean 'perplexity'?"),
    (
        spec(**LM, objective={"metric": "perplexity", "direction": "maximize"}),
        "objective.direction",
        "is minimize; drop",
    ),
    (spec(model=None), "model", "the task text-classification needs model"),
    (spec(data=None), "data", "the task text-classification needs data"),
    (spec(script="a.py"), "script", "the task text-classification does not use script; drop it"),
    (
        spec(task="text-regression", fixed={"label_smoothing": 0.1}),
        "fixed.label_smoothing",
        "no classes whose labels could be smoothed",
    ),
    *(
        (spec(task=task, training={"class_weights": "balanced"}), "training.class_weights", f"{task} has no classes")
        for task in ("text-regression", "causal-lm")
    ),
    (script(training={"class_weights": "balanced"}), "training.class_weights", "script has no classes to be weighed"),
    (spec(training={"class_weights": "balance"}), "training.class_weights", "balanced"),
    (script(script=None), "script", "the task script needs script"),
    (
        script(model={"name": "m"}),
        "model",
        "the task script does not use model; drop it or pass it to the script in fixed",
    ),
    (
        script(objective={"metric": "r2"}),
        "objective.direction",
        "the direction of r2 is not known; give minimize or maximize",
    ),
    (script(baseline=True), "baseline", "a script has no defaults for a baseline; drop baseline"),
    (script(fixed={"two words": 1}), "fixed.two words", "must be a Python name of at most 64 characters"),
    (script(fixed={"depth": 1}), "fixed.depth", "also in search_space"),
    (
        script(pruner={"name": "hyperband"}),
        "pruner.options.max_resource",
        "give the number of reports of its longest trial",
    ),
]


@pytest.mark.parametrize(("body", "field", "reason"), REFUSED, ids=[field for _, field, _ in REFUSED])
def test_what_does_not_fit_a_task_is_refused_by_field(
    http: TestClient, body: dict[str, Any], field: str, reason: str
) -> None:
    answer = http.post("/v1/studies", json=body)
    assert answer.status_code == 422, answer.text
    messages = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert reason in messages[field]


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_columns_are_called_by_their_own_names(task: Any) -> None:
    (columns, *_) = TASKS[task].columns
    body = spec(task=task)
    read = StudySpec.model_validate(body)
    assert read.data is not None
    assert read.data.columns == {column: column for column in columns}
    assert StudySpec.model_validate(read.model_dump()) == read


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_every_metric_of_a_task_may_be_the_objective(task: Any) -> None:
    for metric, direction in {"validation_loss": "minimize", **TASKS[task].metrics}.items():
        assert StudySpec.model_validate(spec(task=task, objective={"metric": metric})).direction == direction


@pytest.mark.parametrize(
    ("columns", "filled"),
    [
        ({"text_pair": "b"}, {"text": "text", "text_pair": "b", "label": "label"}),
        ({"text": "a", "text_pair": "b"}, {"text": "a", "text_pair": "b", "label": "label"}),
        ({"text": "a"}, {"text": "a", "label": "label"}),
    ],
)
@pytest.mark.parametrize("task", ["text-classification", "text-regression"])
def test_a_text_may_have_a_pair(task: Any, columns: dict[str, str], filled: dict[str, str]) -> None:
    read = StudySpec.model_validate(spec(task=task, data={"train": "a", "columns": columns}))
    assert read.data is not None
    assert read.data.columns == filled


def test_a_column_that_is_left_out_keeps_its_name() -> None:
    read = StudySpec.model_validate(spec(**LM, data={"train": "a", "columns": {"prompt": "question"}}))
    assert read.data is not None
    assert read.data.columns == {"prompt": "question", "completion": "completion"}


def test_a_study_of_a_script_runs_to_its_end(http: TestClient, worker: HandWorker) -> None:
    created = http.post("/v1/studies", json=script(pruner={"name": "median", "options": {"n_startup_trials": 1}}))
    assert created.status_code == 201, created.text
    assert http.post("/v1/studies", json=created.json()["spec"]).status_code == 200  # what is read back is the same
    worker.prepare(classes=[], train_rows=0, blocks=None, model_sha256="")
    first = worker.run_trial(0.5, 0.6)
    assert first["params"].keys() == {"depth"}
    worker.run_trial(0.1, 0.2)
    worker.run_trial(0.7)
    study = http.get("/v1/studies/feedback").json()
    assert (study["state"], study["trials"]["complete"], study["trials"]["pruned"]) == ("complete", 2, 1)
    best = http.get("/v1/studies/feedback/best").json()
    assert (best["metric"], best["value"], best["training_arguments"]) == ("r2", 0.7, {})
    assert (best["baseline"], best["model"]) == (None, None)
