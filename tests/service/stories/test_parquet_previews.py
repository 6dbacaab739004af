"""The beginning of an uploaded Parquet file, which a worker reads when somebody asks for it."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lease_and_heartbeat_terms import MAX_CLAIMS, READ_SECONDS
from service.settings import Settings
from spezia.contract.preview import Preview
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.stories.test_datasets import parquet

ROWS = [{"text": "what a film that was", "category": name} for name in ("good", "bad", "good") * 10]
HEAD = {"head": {"lines": "\n".join(map(json.dumps, ROWS)), "n_columns": 2, "n_rows": 30}}


@pytest.fixture
def sha256(http: TestClient) -> str:
    """An uploaded Parquet file."""
    return str(http.post("/v1/datasets", content=parquet()).json()["sha256"])


def ask(http: TestClient, sha256: str, **query: str) -> Any:
    return http.get(f"/v1/datasets/{sha256}/preview", params=query)


def claim(http: TestClient, worker: HandWorker) -> Any:
    return http.post(f"/v1/workers/{worker.worker_id}/dispatch", json={}).json()["to_read"]


def tell(http: TestClient, worker: HandWorker, sha256: str, outcome: dict[str, Any]) -> int:
    return http.post(f"/v1/workers/{worker.worker_id}/heads/{sha256}", json=outcome).status_code


def test_a_worker_reads_the_file_and_the_guess_is_that_of_other_tables(http: TestClient, sha256: str) -> None:
    awaited = ask(http, sha256)
    assert (awaited.status_code, awaited.headers["retry-after"], awaited.json()["n_workers"]) == (202, "1", 0)
    assert "spezia-worker" in awaited.json()["detail"]
    worker = HandWorker(http)
    assert "next worker" in ask(http, sha256).json()["detail"]
    assert claim(http, worker) == {"sha256": sha256}
    assert "is reading" in ask(http, sha256).json()["detail"]
    assert tell(http, worker, sha256, HEAD) == 204
    found = Preview.model_validate_json(ask(http, sha256).content)
    assert (found.format, found.n_rows, found.is_whole, found.rows[0]) == (
        "parquet", 30, True, ["what a film that was", "good"],
    )  # fmt: skip
    assert found.guess is not None
    assert {each.field: each.column for each in found.guess.columns} == {"text": "text", "label": "category"}
    assert ask(http, sha256, task="causal-lm").json()["guess"]["task"] == "causal-lm"


def test_nobody_reads_what_nobody_has_asked_for(http: TestClient, worker: HandWorker, sha256: str) -> None:
    assert claim(http, worker) is None
    assert tell(http, worker, sha256, HEAD) == 204
    assert ask(http, sha256).status_code == 202


def test_one_worker_reads_a_file_and_trials_go_on_behind_it(http: TestClient, worker: HandWorker, sha256: str) -> None:
    assert http.post("/v1/studies", json=spec()).status_code == 201
    ask(http, sha256)
    assert claim(http, worker) == {"sha256": sha256}
    other = HandWorker(http)
    assert other.take()["kind"] == "prepare"
    assert claim(http, HandWorker(http)) is None


def test_the_file_of_a_worker_that_fell_silent_is_read_by_another(
    http: TestClient, worker: HandWorker, sha256: str, clock: FakeClock
) -> None:
    ask(http, sha256)
    claim(http, worker)
    clock.advance(READ_SECONDS - 1)
    assert claim(http, worker) is None
    clock.advance(1)
    other = HandWorker(http)
    assert claim(http, other) == {"sha256": sha256}
    assert tell(http, worker, sha256, HEAD) == 204  # it was only slow, and has found what anyone would
    assert tell(http, other, sha256, {"problem": "is broken"}) == 204
    assert ask(http, sha256).json()["n_rows"] == 30


def test_a_file_over_which_workers_die_is_given_up_until_it_is_uploaded_again(
    http: TestClient, worker: HandWorker, sha256: str, clock: FakeClock
) -> None:
    ask(http, sha256)
    for _ in range(MAX_CLAIMS):
        assert claim(http, worker) == {"sha256": sha256}
        assert ask(http, sha256).status_code == 202
        clock.advance(READ_SECONDS)
    assert claim(http, worker) is None
    refused = ask(http, sha256)
    assert (refused.status_code, refused.json()["code"]) == (404, "no-preview")
    assert "fell silent" in refused.json()["detail"]
    http.post("/v1/datasets", content=parquet())
    assert ask(http, sha256).status_code == 202
    assert claim(http, worker) == {"sha256": sha256}


def test_what_cannot_be_read_is_said_until_the_file_is_uploaded_again(
    http: TestClient, worker: HandWorker, sha256: str
) -> None:
    ask(http, sha256)
    claim(http, worker)
    tell(http, worker, sha256, {"problem": "is not a readable Parquet file: <b>; write it again"})
    refused = ask(http, sha256)
    assert (refused.status_code, refused.json()["code"]) == (404, "no-preview")
    assert "<b>; write it again" in refused.json()["detail"]
    http.post("/v1/datasets", content=parquet())
    ask(http, sha256)
    claim(http, worker)
    tell(http, worker, sha256, HEAD)
    http.post("/v1/datasets", content=parquet())
    assert ask(http, sha256).status_code == 200


@pytest.mark.parametrize(
    ("lines", "why"), [("", "is empty"), ('{"text": "' + "a" * 65_526, "more than 64 KiB"), ("{]", "not JSON")]
)
def test_rows_that_are_none_are_no_preview(
    http: TestClient, worker: HandWorker, sha256: str, lines: str, why: str
) -> None:
    ask(http, sha256)
    claim(http, worker)
    assert tell(http, worker, sha256, {"head": HEAD["head"] | {"lines": lines}}) == 204
    assert why in ask(http, sha256).json()["detail"]


def test_a_worker_tells_no_more_than_a_head(http: TestClient, worker: HandWorker, sha256: str) -> None:
    assert tell(http, worker, sha256, {"head": HEAD["head"] | {"lines": "a" * 65_537}}) == 422
    assert tell(http, worker, sha256, {"problem": ""}) == 422
    assert tell(http, worker, "0" * 64, HEAD) == 404


def test_a_removed_file_has_no_preview(http: TestClient, worker: HandWorker, sha256: str, settings: Settings) -> None:
    ask(http, sha256)
    claim(http, worker)
    tell(http, worker, sha256, HEAD)
    ((settings.files / "datasets") / sha256).unlink()
    assert "upload it again" in ask(http, sha256).json()["detail"]
