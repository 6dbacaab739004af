"""What the calls that pages draw from take of the service, at a study of many trials.

    PYTHONPATH=. python benchmarks/pages_api.py [--trials 10000] [--steps 20]

Prints one JSON line for each call: milliseconds from the request to the whole answer, in one process on SQLite without
a network, of the first time (``first_ms``) and of the median of five more (``again_ms``), and the size of the answer.
The line ``curves, from the database`` is of the first call of all, which reads the study; the others find it in memory.
Trial 7 has 50,000 evaluations.
"""

import argparse
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import get_args

from fastapi.testclient import TestClient
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import delete, insert

from benchmarks.control_plane import draw_one, make_spec
from service.app import create_app
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.search.space.distributions import to_optuna
from service.settings import Settings
from service.store import attempts, events, studies
from service.store.sql.tables import measurement
from service.store.store import Store
from service.store.transaction import Transaction
from spezia.contract.event import TrialChanged
from spezia.contract.plot import PlotKind
from spezia.contract.study_spec import StudySpec

REPEATS = 5
LONG, N_EVALUATIONS = 7, 50_000
"""Number of the trial that has many evaluations, and how many."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(home=Path(folder), n_workers=0))
        name = fill(app.state.parts.store, asked.trials, asked.steps)
        lengthen(app.state.parts.store, name)
        http = TestClient(app, base_url="http://127.0.0.1")
        study = f"/v1/studies/{name}"
        began = time.perf_counter()
        sequence = http.get(f"{study}/curves").json()["sequence"]
        cold = {"call": "curves, from the database", "first_ms": round(1000 * (time.perf_counter() - began), 1)}
        print(json.dumps(cold | {"trials": asked.trials, "steps": asked.steps}), flush=True)
        paths = [
            f"{study}/curves",
            f"{study}/curves?after={sequence}",
            f"{study}/curves?trials=1,5,9",
            f"{study}/curves?trials=1,5,9&bands=true",
            f"{study}/curves?metric=train_loss",
            *(f"{study}/plots/{kind}" for kind in get_args(PlotKind) if kind != "pareto-front"),
            *(f"{study}/trials?limit=50&order_by={order}" for order in ("-number", "state", "value")),
            f"{study}/trials/{LONG}",
            f"{study}/trials/{LONG}/evaluations?limit=1000",
        ]
        for path in paths:
            measure(http, path, asked.trials, asked.steps)
        app.state.parts.proposer.close()
        app.state.parts.store.close()


def measure(http: TestClient, path: str, n_trials: int, n_steps: int) -> None:
    """Print what a call takes."""
    taken = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        answer = http.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, answer.text
    first, *again = taken
    line = {"call": re.sub(r"after=\d+", "after=…", path.split("/", 4)[-1]), "trials": n_trials, "steps": n_steps}
    line |= {"first_ms": round(first, 1), "again_ms": round(statistics.median(again), 1), "bytes": len(answer.content)}
    print(json.dumps(line, ensure_ascii=False), flush=True)


def fill(store: Store, n_trials: int, n_steps: int) -> str:
    """Make a study of so many COMPLETE trials; return its name."""
    name, _ = create_study(store, plan_study(StudySpec.model_validate(make_spec("random", n_trials))))
    draw = random.Random(0)
    with store.writing() as tx:
        study = studies.lock(tx, name)
        distributions = to_optuna(study.spec.search_space)
        begun = tx.now.replace(tzinfo=None)
        for number in range(n_trials):
            values = {step: draw.random() + 1 / step for step in range(1, n_steps + 1)}
            trial = FrozenTrial(
                number=-1,
                trial_id=-1,
                state=TrialState.COMPLETE,
                value=min(values.values()),
                datetime_start=begun + timedelta(seconds=number),
                datetime_complete=begun + timedelta(seconds=number + 60),
                params={param: draw_one(one, draw) for param, one in distributions.items()},
                distributions=distributions,
                user_attrs={},
                system_attrs={},
                intermediate_values=values,
            )
            tx.trials.create_new_trial(study.study_id, trial)
            add_evaluations(tx, study.uuid, number, values)
        events.add(tx, study.uuid, study.study_id, TrialChanged(number=0, state="COMPLETE", params={}))
    return name


def add_evaluations(tx: Transaction, study_uuid: str, number: int, values: Mapping[int, float]) -> None:
    """Store what a trial has reported, by step."""
    common = {"study_uuid": study_uuid, "number": number, "attempt": 1, "is_final": False, "reported_at": tx.now}
    answer = {"should_prune": False, "reason": None, "keep_model": False, "optimizer_steps": 1}
    rows = [
        common
        | answer
        | {"step": step, "epoch": float(step), "value": value}
        | {"metrics": {"validation_loss": value, "train_loss": value - 0.1, "accuracy": 0.5}}
        for step, value in values.items()
    ]
    tx.connection.execute(insert(measurement), rows)


def lengthen(store: Store, name: str) -> None:
    """Give a trial the attempt that made many more evaluations than those it has."""
    with store.writing() as tx:
        study = studies.lock(tx, name)
        steps = range(N_EVALUATIONS, 0, -1)
        tx.connection.execute(delete(measurement).where(measurement.c.number == LONG))
        add_evaluations(tx, study.uuid, LONG, {step: 1 + 1 / step for step in steps})
        attempts.begin(tx, study.uuid, "trial", LONG, attempts.Asker("0" * 32, "cpu", "cpu", {}), n_past=0)


if __name__ == "__main__":
    main()
