"""The real service, the real engine and a tiny model: a trial that was paused by one worker and goes on with another,
which shares no folder with it, has the numbers of an uninterrupted trial; so has one whose receiver is killed."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.lifecycle.leases.reap import reap_worker
from service.lifecycle.workers import register_worker
from service.search.pruning.rungs import partial_steps, steps_to_evaluate
from service.store.store import Store
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec
from tests.trainer import tiny
from tests.trainer.test_pause_and_service import served as served
from tests.trainer.test_preempt_and_service import worker
from trainer.model.best_model import BestModel
from trainer.model.products import faster_products
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

SECONDS = 90.0
RUNG = 40


def until(shows: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not shows():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def engine_of(worker_pid: int) -> int:
    [engine] = Path(f"/proc/{worker_pid}/task/{worker_pid}/children").read_text().split()
    return int(engine)


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_a_trial_that_went_on_elsewhere_has_the_numbers_of_an_uninterrupted_one(
    served: tuple[str, Store], pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_worker, "HEARTBEAT_SECONDS", 0.2)
    server, store = served
    rates = (1e-3, 1e-6, 1e-6)
    body = tiny.make_spec(
        name="rungs",
        n_trials=3,
        baseline=False,
        pruner={"name": "rungs", "options": {"eta": 2, "first": RUNG, "top": 1}},
        training={"evaluations_per_epoch": 4, "early_stopping_patience": None},
        search_space={"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
        enqueue=[{"learning_rate": rate} for rate in rates],
        fixed={"epochs": 20, "batch_size": 8, "dropout": 0.2, "frozen_layers": 1},
    ).model_dump()

    def trial(number: int) -> dict[str, Any]:
        shown: dict[str, Any] = http.get(f"/rungs/trials/{number}").json()
        return shown

    with httpx2.Client(base_url=f"{server}/v1/studies", timeout=10) as http:
        assert http.post(f"{server}/v1/studies", json=body).status_code == 201
        with worker(server, pristine, tmp_path / "holder") as holder:
            until(lambda: trial(1).get("state") == "RUNNING")
            engine = engine_of(holder.pid)
            os.kill(engine, signal.SIGSTOP)  # its supervisor lives, so the holder is busy for as long as we like
            try:
                assert trial(0)["paused"] is not None
                assert trial(1)["state"] == "RUNNING"
                with worker(server, pristine, tmp_path / "other") as killed:
                    until(lambda: (trial(0)["step"] or 0) > RUNG)
                    killed.kill()
                    killed.wait(SECONDS)
                workers = http.get(f"{server}/v1/workers").json()["workers"]
                [lost] = [one for one in workers if [work["number"] for work in one["work"]] == [0]]
                reap_worker(store, lost["worker_id"])  # as a launcher does, and the end of a lease 90 s later
                with worker(server, pristine, tmp_path / "third") as third:
                    until(lambda: trial(0)["state"] == "COMPLETE")
                    third.terminate()
                    assert third.wait(SECONDS) == 0
            finally:
                os.kill(engine, signal.SIGCONT)
        told, resumed = http.get("/rungs").json()["facts"], trial(0)
    attempts = [(one["end"], one["resumed_from"]) for one in resumed["attempts"]]
    assert attempts == [("paused", 0), ("lost", RUNG), ("COMPLETE", RUNG)]
    facts = Facts.model_validate(told)
    prepared = prepare(StudySpec.model_validate(body), roots=[pristine], device=tiny.CPU)
    params = prepared.spec.fixed | resumed["params"]
    whole = fine_tune(
        prepared,
        TrialConfig.from_params(params),
        seed=prepared.spec.seed,
        number=0,
        best=BestModel(),
        evaluate_at=steps_to_evaluate(prepared.spec, params, facts),
        partial_at=partial_steps(prepared.spec, params, facts),
        cache=TrunkCache(tmp_path / "trunks"),
    )
    with faster_products(tiny.CPU, facts.precision):  # as engines do
        made = [(one.step, one.value, one.metrics["train_loss"]) for one in whole]
    rows = resumed["intermediate_values"]
    assert [(row["step"], row["value"], row["metrics"]["train_loss"]) for row in rows] == made
