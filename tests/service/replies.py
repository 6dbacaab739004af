"""What a service answers, for the tests of its clients."""

from datetime import UTC, datetime
from typing import Any

import httpx2

from spezia.contract.best_trial import Baseline, BestTrial, ParetoFront
from spezia.contract.problem import MEDIA_TYPE, Code, Problem
from spezia.contract.quote import Interval, Quote
from spezia.contract.replay import Comparison, Machine, Manifest, Replay, Verdict
from spezia.contract.study import Study, TrialCounts
from spezia.contract.study_spec import StudySpec
from spezia.contract.trial import TrialDetail
from tests.service.search.builders import make_spec

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make_study(**changes: Any) -> Study:
    spec: StudySpec = changes.pop("spec", make_spec(name="toy"))
    fields: dict[str, Any] = {
        "name": spec.name,
        "state": "complete",
        "failure": None,
        "spec": spec,
        "facts": None,
        "trials": TrialCounts(complete=15, pruned=5),
        "best": None,
        "n_finished": 20,
        "elapsed_seconds": 60.0,
        "device_seconds": 50.0,
        "created_at": NOW,
        "finished_at": NOW,
    }
    return Study(**(fields | changes))


def make_quote(**changes: Any) -> Quote:
    fields: dict[str, Any] = {
        "device_seconds": Interval(low=50.0, expected=125.0, high=200.0),
        "wall_seconds": Interval(low=30.0, expected=65.0, high=120.0),
        "n_trials": 20,
        "n_workers": 2,
        "device": "a device",
        "peak_memory_bytes": 10**9,
    }
    return Quote(**(fields | changes))


def make_trial_reply(number: int, **changes: Any) -> TrialDetail:
    fields: dict[str, Any] = {
        "study": "toy",
        "number": number,
        "state": "COMPLETE",
        "params": {"learning_rate": 2e-5, "batch_size": 16},
        "value": 0.5,
        "step": 3,
        "epoch": 3.0,
        "failure": None,
        "baseline": number == 0,
        "started_at": NOW,
        "finished_at": NOW,
        "intermediate_values": [],
        "attempts": [],
    }
    return TrialDetail(**(fields | changes))


def make_best() -> BestTrial:
    return BestTrial(
        study="toy",
        number=7,
        value=0.25,
        metric="validation_loss",
        params={"learning_rate": 1e-4, "batch_size": 8},
        metrics={"accuracy": 0.9, "test_accuracy": 0.88},
        step=3,
        epoch=3.0,
        baseline=Baseline(value=0.5, params={"learning_rate": 2e-5, "batch_size": 16}),
        improvement=0.25,
        trials=TrialCounts(complete=15, pruned=5),
        device_seconds=50.0,
        model="/v1/studies/toy/best/model",
        model_directory="/models/toy",
        training_arguments={},
        generalization_gap=0.1,
        warnings=["a warning"],
    )


def make_comparison(verdict: Verdict) -> Comparison:
    return Comparison(
        verdict=verdict,
        sentence=f"the trial is {verdict}",
        reasons=["another device"],
        tolerance=1e-4,
        n_recorded=1,
        n_compared=1,
        first_difference=None,
        largest_difference=None,
        failure=None,
        replayed_on=None,
    )


def make_replay(**changes: Any) -> Replay:
    manifest = Manifest(params={}, seed=0, precision="fp32", model_sha256="0", model_commit=None, data_sha256="1")
    fields: dict[str, Any] = {
        "study": "toy",
        "number": 3,
        "state": "waiting",
        "manifest": manifest,
        "recorded_on": Machine(device="a device", device_kind="cpu", versions={}),
        "requested_at": NOW,
        "ended_at": None,
        "device_seconds": 0.0,
        "result": None,
    }
    return Replay(**(fields | changes))


def make_front() -> ParetoFront:
    values = ({"accuracy": 0.9, "device_seconds": 30.5}, {"accuracy": 0.8, "device_seconds": 10.25})
    first, second = (
        make_best().model_copy(update={"number": number, "value": one["accuracy"], "metric": "accuracy", "values": one})
        for number, one in zip((7, 3), values, strict=True)
    )
    baseline = Baseline(value=0.7, params={"learning_rate": 2e-5}, values={"accuracy": 0.7, "device_seconds": 12.5})
    first = first.model_copy(update={"baseline": baseline})
    second = second.model_copy(update={"warnings": ["a warning", "of its own"], "model_directory": None})
    return ParetoFront(study="toy", pareto=[first, second])


def problem(status: int, code: Code, detail: str, **fields: Any) -> httpx2.Response:
    body = Problem(type="about:blank", title=code, status=status, detail=detail, code=code, **fields)
    return httpx2.Response(status, content=body.model_dump_json(), headers={"Content-Type": MEDIA_TYPE})


class ScriptedService:
    """Answers from a table of ``METHOD path``; each entry is a model, a response or a function."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.requests: list[httpx2.Request] = []
        self.refuse: httpx2.Response | None = None
        """What answers every request instead."""

    def transport(self) -> httpx2.MockTransport:
        return httpx2.MockTransport(self._handle)

    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.refuse is not None:
            return self.refuse
        answer = self.answers.get(f"{request.method} {request.url.path}")
        if answer is None:
            return problem(404, Code.STUDY_NOT_FOUND, "there is no such study")
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, httpx2.Response):
            return answer
        return httpx2.Response(200, content=answer.model_dump_json())
