"""The trials that lead a study are found without going through those whose place is known."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.lifecycle.confirmation import winner
from service.search.results.ranking import leaders
from tests.service.hand_worker import HandWorker, spec


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials were compared each time that leaders were looked for."""
    numbers: list[int] = []

    def counted(trials: Iterable[Any], study_spec: Any) -> Sequence[Any]:
        these = list(trials)
        numbers.append(len(these))
        return leaders(these, study_spec)

    monkeypatch.setattr(winner, "leaders", counted)
    return numbers


def test_only_what_has_ended_since_is_compared(http: TestClient, worker: HandWorker, compared: list[int]) -> None:
    assert http.post("/v1/studies", json=spec(n_trials=5)).status_code == 201
    worker.prepare()
    for value in (0.5, 0.3, 0.4):
        worker.run_trial(value)
    assert max(compared) == 2
    compared.clear()
    for _ in range(2):
        assert http.get("/v1/studies/feedback/best").json()["number"] == 1
    assert compared == []
    worker.run_trial(0.1)
    assert http.get("/v1/studies/feedback/best").json()["number"] == 3
    assert compared == [2]
