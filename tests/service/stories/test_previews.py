"""The beginning of uploaded data sets, and what they seem to be for."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.settings import Settings
from spezia.common.table_head import HEAD_BYTES
from spezia.contract.preview import Preview
from tests.service.stories.test_datasets import CSV

ROWS = b"text,category\n" + b"".join(b"what a film that was,%d\n" % (n % 3) for n in range(30))


def uploaded(http: TestClient, content: bytes) -> str:
    return f"{http.post('/v1/datasets', content=content).headers['location']}/preview"


def test_a_table_is_shown_and_guessed(http: TestClient) -> None:
    answer = http.get(uploaded(http, ROWS))
    assert answer.status_code == 200, answer.text
    found = Preview.model_validate_json(answer.content)
    assert (found.format, found.separator, found.n_rows_read, found.is_whole) == ("csv", ",", 30, True)
    assert found.rows[:2] == [["what a film that was", "0"], ["what a film that was", "1"]]
    assert found.guess is not None
    assert found.guess.task == "text-classification"
    assert {each.field: each.column for each in found.guess.columns} == {"text": "text", "label": "category"}


def test_the_columns_of_one_task_may_be_asked_for(http: TestClient) -> None:
    path = uploaded(http, ROWS)
    assert http.get(path, params={"task": "text-regression"}).json()["guess"]["task"] == "text-regression"
    assert http.get(path, params={"task": "causal-lm"}).json()["guess"]["columns"][0]["column"] == "text"
    assert http.get(path, params={"task": "chess"}).status_code == 422


def test_no_more_than_the_head_is_read(http: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = uploaded(http, ROWS + b"what a film that was,3\n" * 100_000)
    sizes: list[Any] = []
    opened = Path.open

    def watched(self: Path, *args: Any, **options: Any) -> Any:
        file = opened(self, *args, **options)
        if self.parent == (settings.files / "datasets"):
            read = file.read
            monkeypatch.setattr(file, "read", lambda size=-1: sizes.append(size) or read(size))
        return file

    monkeypatch.setattr(Path, "open", watched)
    found = Preview.model_validate_json(http.get(path).content)
    assert sum(sizes) == HEAD_BYTES
    assert (found.is_whole, found.n_rows_read < HEAD_BYTES / 20) == (False, True)


def test_what_cannot_be_shown_says_why(http: TestClient, settings: Settings) -> None:
    removed = uploaded(http, CSV)
    ((settings.files / "datasets") / hashlib.sha256(CSV).hexdigest()).unlink()
    for path, why in (
        (uploaded(http, b"text,label\nwell, then,good\n"), "row 1 has 3 values"),
        (removed, "upload it again"),
    ):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-preview")
        assert why in answer.json()["detail"]


def test_a_data_set_that_nobody_uploaded_is_not_there(http: TestClient) -> None:
    answer = http.get(f"/v1/datasets/{'0' * 64}/preview")
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset-not-found")
