"""A proposal that takes long is made while the trial before it runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.search.propose import proposer as proposing
from service.search.propose.proposer import Proposer
from tests.service.hand_worker import HandWorker, spec

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.4},
}
TPE = {"name": "tpe", "options": {"n_startup_trials": 2}}


def run_study(http: TestClient, worker: HandWorker, name: str, before_each: Callable[[], None]) -> list[Any]:
    http.post("/v1/studies", json=spec(name=name, search_space=SPACE, sampler=TPE, n_trials=8))
    worker.prepare()
    chosen = []
    for number in range(8):
        before_each()
        held = worker.take()
        chosen.append(held["params"])
        worker.report(held, 1, 8.0 - number, final=True)  # each the best so far, so that the next one depends on it
        worker.finish(held)
    return chosen


def test_a_restart_proposes_what_was_proposed_ahead(
    http: TestClient, app: Any, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.search.propose.propose.AHEAD_FROM", 4)
    ahead = run_study(http, worker, "ahead", lambda: None)

    def restart() -> None:
        parts = app.state.parts
        parts.proposer.close()
        app.state.parts = replace(parts, proposer=Proposer(parts.store.metrics))

    restarted = run_study(http, worker, "restarted", restart)
    assert ahead == restarted


def test_the_proposal_is_ready_when_it_is_asked_for(
    http: TestClient, worker: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.search.propose.propose.AHEAD_FROM", 4)
    asked = []
    whole = proposing.propose

    def noted(request: Any) -> Any:
        asked.append((request.number, [trial.state.name for trial in request.trials]))
        return whole(request)

    monkeypatch.setattr(proposing, "propose", noted)
    run_study(http, worker, "ahead", lambda: None)
    states = dict(asked)
    assert [number for number, _ in asked] == list(range(8))
    assert states[3] == ["COMPLETE"] * 3
    assert states[4] == ["COMPLETE"] * 3 + ["RUNNING"]
    assert states[7] == ["COMPLETE"] * 6 + ["RUNNING"]
