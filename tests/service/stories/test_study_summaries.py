"""What is kept of a study's trials, so that lists read none of them, agrees with the trials whatever has happened."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, update

from service.failpoints import Injected, armed
from service.lifecycle.leases.reap import reap_worker
from service.lifecycle.studies.list_studies import list_studies
from service.lifecycle.studies.summarise import summarise_old
from service.store import studies
from service.store.sql.tables import study_summary
from service.store.store import Store
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, spec
from tests.service.recounted import recounted, shown

STUDY = "/v1/studies/feedback"
KINDS: dict[str, dict[str, Any]] = {
    "one objective": {},
    "the largest is best": {
        "objective": {"metric": "accuracy"},
        "constraints": [{"metric": "validation_loss", "at_most": 0.6}],
    },
    "two objectives": {"objective": [{"metric": "validation_loss"}, {"metric": "accuracy"}]},
    "pilots": {"start_small": {"fraction": 0.25, "trials": 3}},
    "a pruner": {"pruner": {"name": "median"}},
    "a budget": {"device_seconds": 60.0},
}
N_STEPS = 40


class History:
    """A study that people and workers act on at random.

    Args:
        store: The store of the service.
    """

    def __init__(self, http: TestClient, store: Store, changes: dict[str, Any], seed: int) -> None:
        self.http = http
        self.store = store
        self.chance = random.Random(seed)
        self.changes = changes
        self.held: list[tuple[HandWorker, dict[str, Any]]] = []
        self.n_trials = 6
        self.create()

    def create(self) -> None:
        self.held.clear()
        self.n_trials = 6
        body = spec(n_trials=self.n_trials, **self.changes)
        assert self.http.post("/v1/studies", json=body).status_code == 201
        HandWorker(self.http).prepare()

    def step(self) -> None:
        acts: dict[Callable[[], None], int] = {
            self.take: 8,
            self.report: 8,
            self.finish: 10,
            self.fail: 3,
            self.lose: 2,
            self.act_on_a_trial: 4,
            self.enqueue: 2,
            self.extend: 2,
            self.act_on_the_study: 1,
            self.delete: 1,
        }
        self.chance.choices(list(acts), list(acts.values()))[0]()

    def take(self) -> None:
        worker = HandWorker(self.http)
        self.held += [(worker, held) for held in worker.dispatch()]

    def report(self) -> None:
        if self.held:
            worker, held = self.chance.choice(self.held)
            if held["kind"] == "trial":
                held["step"] = held.get("step", 0) + 1
                self._report(worker, held, final=False)

    def finish(self) -> None:
        if not self.held:
            return
        worker, held = self.held.pop(self.chance.randrange(len(self.held)))
        seconds = {"device_seconds": self.chance.random()}
        if held["kind"] == "small":
            metrics = {"validation_loss": self.chance.random()}
            worker.tell(held, {"kind": "small", "metrics": metrics, **seconds})
            return
        held["step"] = held.get("step", 0) + 1
        reply = self._report(worker, held, final=True)
        state = "PRUNED" if reply.get("should_prune") else "COMPLETE"
        worker.tell(held, {"kind": "trial", "state": state, **seconds})

    def _report(self, worker: HandWorker, held: dict[str, Any], *, final: bool) -> dict[str, Any]:
        # few values, so that there are ties
        loss, accuracy = (self.chance.randrange(1, 6) / 5 for _ in range(2))
        value = accuracy if "constraints" in self.changes else loss
        metrics = {"validation_loss": loss, "accuracy": accuracy}
        answer: dict[str, Any] = worker.report(held, held["step"], value, final=final, **metrics)
        return answer

    def fail(self) -> None:
        if self.held:
            worker, held = self.held.pop()
            failure = {"failure_class": self.chance.choice(["exception", "diverged", "budget"]), "message": "it broke"}
            outcome = {"kind": held["kind"], "failure": failure, "device_seconds": self.chance.random()}
            worker.tell(held, outcome | ({"state": "FAIL"} if held["kind"] == "trial" else {}))

    def lose(self) -> None:
        if self.held:
            worker, _ = self.held.pop()
            reap_worker(self.store, worker.worker_id)

    def act_on_a_trial(self) -> None:
        act = self.chance.choice(["retry", "cancel"])
        self.http.post(f"{STUDY}/trials/{self.chance.randrange(self.n_trials)}/{act}")

    def enqueue(self) -> None:
        self.http.post(f"{STUDY}/trials", json={"params": {"learning_rate": 1e-4}})

    def extend(self) -> None:
        self.n_trials += 1
        self.http.patch(STUDY, json={"n_trials": self.n_trials})

    def act_on_the_study(self) -> None:
        self.http.post(f"{STUDY}/{self.chance.choice(['pause', 'resume', 'stop', 'cancel'])}")

    def delete(self) -> None:
        assert self.http.delete(STUDY).status_code == 204
        self.create()


def check(engine: Engine, clock: FakeClock) -> None:
    """Compare what is shown with what the trials say, in a process that knows nothing yet."""
    with Store(engine, clock).reading() as tx:
        study = studies.find(tx, "feedback")
        assert shown(tx, study) == recounted(tx, study)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_what_is_kept_agrees_with_the_trials_whatever_has_happened(
    http: TestClient, app: FastAPI, engine: Engine, clock: FakeClock, kind: str, seed: int
) -> None:
    history = History(http, app.state.parts.store, KINDS[kind], seed)
    for _ in range(N_STEPS):
        history.step()
        check(engine, clock)


def test_a_list_reads_no_trials(http: TestClient, worker: HandWorker, engine: Engine, clock: FakeClock) -> None:
    for number in range(3):
        assert http.post("/v1/studies", json=spec(name=f"study-{number}")).status_code == 201
        worker.prepare()
        for _ in range(3):
            worker.run_trial(0.5, 0.4)
    store = Store(engine, clock)
    listed = list_studies(store, 100, None)
    assert sum(study.trials.complete for study in listed.studies) == 9
    assert [study.best and study.best.value for study in listed.studies] == [0.4, 0.4, 0.4]
    with store.reading() as tx:
        found = [studies.find(tx, study.name) for study in listed.studies]
    assert [store.caches.trials.get(study.study_id) for study in found] == [None, None, None]


@pytest.mark.parametrize("moment", ["tell.before_commit", "tell.after_commit"])
def test_a_service_that_dies_as_a_trial_ends_has_kept_what_its_trials_say(
    http: TestClient, worker: HandWorker, engine: Engine, clock: FakeClock, moment: str
) -> None:
    http.post("/v1/studies", json=spec())
    worker.prepare()
    worker.run_trial(0.5)
    held = worker.take()
    worker.report(held, 1, 0.4, final=True)

    def die() -> None:
        raise Injected

    with armed(moment, die), pytest.raises(Injected):
        worker.finish(held)
    check(engine, clock)
    assert http.get(STUDY).json()["trials"]["complete"] == (1 if moment == "tell.before_commit" else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_study_older_than_summaries_the_trials_are_counted_until_it_has_one(
    http: TestClient, app: FastAPI, engine: Engine, clock: FakeClock, kind: str
) -> None:
    store = app.state.parts.store
    history = History(http, store, KINDS[kind], 1)
    for _ in range(N_STEPS):
        history.step()
    with engine.begin() as connection:
        forgotten = {"complete": 0, "pruned": 0, "fail": 0, "failures": {}, "leaders": [], "is_stale": True}
        forgotten |= {"best_value": None, "generalization_gap": None, "small_runs": None}
        connection.execute(update(study_summary).values(**forgotten))
    check(engine, clock)
    summarise_old(Store(engine, clock))
    with engine.begin() as connection:
        assert connection.execute(select(study_summary.c.is_stale)).scalars().all() == [False]
    check(engine, clock)
