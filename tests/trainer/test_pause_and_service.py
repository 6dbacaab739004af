"""The real service, the real engine and a tiny model under the pruner rungs: paused and resumed trials, and trials of
workers that are killed meanwhile, have the numbers of uninterrupted ones, which their replays confirm."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from service.app import create_app
from service.lifecycle.leases.reap import reap_worker
from service.search.pruning.rungs import partial_steps, steps_to_evaluate
from service.settings import Settings
from service.store.store import Store
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec
from tests.trainer import tiny
from tests.trainer.test_preempt_and_service import worker
from trainer.model.best_model import BestModel
from trainer.model.products import faster_products
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

SECONDS = 90.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Store]]:
    """A service in this process: its address, and its store."""
    app = create_app(Settings(home=tmp_path / "home"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.parts.store
        finally:
            uvicorn_server.should_exit = True
            thread.join()


def wait_until_over_or_paused(http: httpx2.Client, n_paused: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        study: dict[str, Any] = http.get("/rungs").json()
        if study["state"] == "complete" or study["trials"]["paused"] >= n_paused:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"never were {n_paused} trials paused: {study}")


def wait_for_replay(http: httpx2.Client, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        shown: dict[str, Any] = http.get(f"/rungs/trials/{number}/replay").json()
        if shown["state"] == "ended":
            return shown
        threading.Event().wait(0.02)
    raise AssertionError(f"the replay never ended: {shown}")


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_paused_trials_have_the_numbers_of_uninterrupted_ones_whoever_is_killed(
    served: tuple[str, Store], pristine: Path, tmp_path: Path
) -> None:
    server, store = served
    body = tiny.make_spec(
        name="rungs",
        n_trials=6,
        baseline=False,
        pruner={"name": "rungs", "options": {"eta": 2, "first": 2, "validation_share": 0.5, "top": 2}},
        training={"evaluations_per_epoch": 4, "early_stopping_patience": None},
        fixed={"epochs": 4, "batch_size": 8, "dropout": 0.2, "frozen_layers": 1},
    ).model_dump()
    with httpx2.Client(base_url=f"{server}/v1/studies", timeout=10) as http:
        assert http.post(f"{server}/v1/studies", json=body).status_code == 201
        for n_paused in (1, 3):
            with worker(server, pristine, tmp_path) as killed:
                wait_until_over_or_paused(http, n_paused)
                killed.kill()
                killed.wait(SECONDS)
            for one in http.get(f"{server}/v1/workers").json()["workers"]:
                reap_worker(store, one["worker_id"])  # as a launcher does, and the end of a lease 90 s later
        with worker(server, pristine, tmp_path) as last:
            wait_until_over_or_paused(http, n_paused=10**6)
            for number in range(6):
                http.post(f"/rungs/trials/{number}/replay").raise_for_status()
            replays = [wait_for_replay(http, number) for number in range(6)]
            last.terminate()
            last.wait(SECONDS)
        told = http.get("/rungs").json()["facts"]
        trials = [http.get(f"/rungs/trials/{number}").json() for number in range(6)]
    assert {trial["state"] for trial in trials} == {"COMPLETE", "PRUNED"}
    assert [one["result"]["verdict"] for one in replays] == 6 * ["equal"], replays
    assert all(one["result"]["replayed_on"] == one["recorded_on"] for one in replays)
    ends = [[attempt["end"] for attempt in trial["attempts"]] for trial in trials]
    assert any("paused" in of_trial and len(of_trial) > 1 for of_trial in ends)
    assert any(attempt["resumed_from"] > 0 for trial in trials for attempt in trial["attempts"])
    facts = Facts.model_validate(told)
    assert facts.step_times is not None
    assert all(kind.pause_seconds > 0 for kind in facts.step_times.kinds)
    prepared = prepare(StudySpec.model_validate(body), roots=[pristine], device=tiny.CPU)
    for trial in trials:
        params = prepared.spec.fixed | trial["params"]
        config, steps = TrialConfig.from_params(params), steps_to_evaluate(prepared.spec, params, facts)
        whole = fine_tune(
            prepared,
            config,
            seed=prepared.spec.seed,
            number=trial["number"],
            best=BestModel(),
            evaluate_at=steps,
            partial_at=partial_steps(prepared.spec, params, facts),
            cache=TrunkCache(tmp_path / "trunks"),
        )
        rows = trial["intermediate_values"]
        found = [(row["step"], row["value"], row["metrics"]["train_loss"], row["partial"]) for row in rows]
        with faster_products(tiny.CPU, facts.precision):  # as engines do
            made = [one for one, _ in zip(whole, found, strict=False)]
        assert found == [(one.step, one.value, one.metrics["train_loss"], one.partial) for one in made]
        assert [row["step"] for row in rows if row["partial"]] == [2]
