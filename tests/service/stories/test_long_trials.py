"""No call of a worker costs more because its trial has been evaluated many times already."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event

from service.files.folder_files import FolderFiles
from service.lifecycle.leases.heartbeat import heartbeat
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.page_token import write_token
from service.lifecycle.trials import show_trial
from service.lifecycle.trials.list_trials import list_trials
from service.search.propose.proposer import Proposer
from service.search.pruning import should_prune
from service.store import studies, trials
from service.store.store import Store
from spezia.contract.outcomes import TrialOutcome
from spezia.contract.protocol import HeldLease, Report
from tests.conftest import FakeClock
from tests.service.hand_worker import HandWorker, evaluation, spec

FEW, MANY = 30, 1500
PRUNERS: dict[str, dict[str, Any]] = {
    "none": {},
    "median": {},
    "percentile": {},
    "patient": {"patience": 3},
    "threshold": {"upper": 1e6},
    "successive-halving": {},
    "hyperband": {},
}


def long_trial(http: TestClient, store: Store, name: str, n_evaluations: int, **changes: Any) -> dict[str, Any]:
    """Return what a worker holds of a trial that has so many evaluations, each better than the last."""
    worker = HandWorker(http)
    assert http.post("/v1/studies", json=spec(name=name, **changes)).status_code == 201
    worker.prepare()
    held = worker.take()
    report(store, [Report(**evaluation(held, step, 1 / step)) for step in range(1, n_evaluations + 1)])
    return held


def sqlite_work(engine: Engine, act: Callable[[], object]) -> int:
    """Return how many instructions SQLite has run for a call: some for each row that it looks at."""
    n_instructions = 0

    def count() -> int:
        nonlocal n_instructions
        n_instructions += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 1)

    def leave(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(None, 1)

    event.listen(engine, "checkout", watch)
    event.listen(engine, "checkin", leave)
    try:
        act()
    finally:
        event.remove(engine, "checkout", watch)
        event.remove(engine, "checkin", leave)
    return n_instructions


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # which alone counts its work
def test_the_database_does_no_more_for_a_trial_of_many_evaluations(
    http: TestClient, store: Store, engine: Engine, tmp_path: Path
) -> None:
    work: dict[str, list[int]] = defaultdict(list)
    outcome = TrialOutcome(kind="trial", state="COMPLETE", device_seconds=2.0)
    with closing(Proposer(store.metrics)) as proposer:
        for n in (FEW, MANY):
            held = long_trial(http, store, f"of-{n}", n, n_trials=1)
            lease = HeldLease(lease_id=held["lease_id"], token=held["token"])
            one_more, last = (Report(**evaluation(held, n + k, 0.5, final=k == 2)) for k in (1, 2))
            acts: dict[str, Callable[[], object]] = {
                "report": partial(report, store, [one_more]),
                "heartbeat": partial(heartbeat, store, [lease], 10**9),
                "final report": partial(report, store, [last]),
                "tell": partial(tell, store, proposer, FolderFiles(tmp_path), lease.lease_id, lease.token, outcome),
            }
            for name, act in acts.items():
                work[name].append(sqlite_work(engine, act))
    assert {name: few for name, (few, _) in work.items() if few == 0} == {}
    assert {name: (few, many) for name, (few, many) in work.items() if many > 1.2 * few} == {}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # which alone counts its work
def test_a_list_of_trials_does_no_more_for_a_trial_of_many_evaluations(
    http: TestClient, store: Store, engine: Engine
) -> None:
    work = []
    for n in (FEW, MANY):
        name = f"of-{n}"
        long_trial(http, store, name, n, n_trials=20, enqueue=[{"learning_rate": 1e-4}] * 19)
        listed = list_trials(store, name, 100, None, [], "number").trials
        assert (len(listed), listed[0].step) == (19, n)
        work.append(sqlite_work(engine, partial(list_trials, store, name, 100, None, [], "number")))
    few, many = work
    assert 0 < many <= 1.2 * few


@pytest.mark.parametrize("pruner", PRUNERS)
def test_optunas_pruners_see_few_values(
    pruner: str, http: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_seen = []

    class Noting(NopPruner):
        def prune(self, study: Any, trial: FrozenTrial) -> bool:
            n_seen.append(len(trial.intermediate_values))
            return False

    monkeypatch.setattr(should_prune, "build_pruner", lambda spec: Noting())
    monkeypatch.setattr(should_prune, "HyperbandPruner", Noting)
    long_trial(http, store, "long", 60, pruner={"name": pruner, "options": PRUNERS[pruner]})
    assert max(n_seen, default=0) <= 6


def test_the_values_of_a_trial_are_copied_once_for_a_request(http: TestClient, store: Store) -> None:
    n_copied = 0

    class Counted(dict[int, float]):
        def copy(self) -> "Counted":
            nonlocal n_copied
            n_copied += len(self)
            return Counted(self)

    held = long_trial(http, store, "long", 10)
    with store.reading() as tx:
        [study_id] = {tx.trials.get_study_id_from_name("long")}
        [trial, *_] = tx.trials.shared(study_id)
        trial.intermediate_values = Counted(trial.intermediate_values)
    report(store, [Report(**evaluation(held, step, 1 / step)) for step in range(11, 41)])
    assert n_copied == 10


def test_a_long_trial_goes_on_with_all_its_evaluations(
    http: TestClient, store: Store, engine: Engine, clock: FakeClock
) -> None:
    held = long_trial(http, store, "long", 230, n_trials=1)
    worker = HandWorker(http)
    worker.release(held)
    checkpoint = {"study_id": held["study_id"], "number": 0, "attempt": 1, "step": 220}
    reply = http.post(f"/v1/workers/{worker.worker_id}/dispatch", json={"checkpoints": [checkpoint]})
    [again] = reply.json()["assignments"]
    assert again["resume"] == {"attempt": 1, "step": 220, "sent": None}
    with store.reading() as tx:
        [mine] = tx.trials.shared(tx.trials.get_study_id_from_name("long"))
    with Store(engine, clock).reading() as tx:
        [others] = tx.trials.shared(tx.trials.get_study_id_from_name("long"))
    assert mine.intermediate_values == others.intermediate_values == {step: 1 / step for step in range(1, 221)}


def test_a_long_trial_is_shown_in_part_and_listed_whole(
    http: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show_trial, "MAX_POINTS", 10)
    held = long_trial(http, store, "long", 60, n_trials=1)
    report(store, [Report(**evaluation(held, step, 0.001 if step == 63 else 0.5)) for step in range(61, 71)])
    shown = http.get("/v1/studies/long/trials/0").json()
    steps = [one["step"] for one in shown["intermediate_values"]]
    assert (len(steps), steps[0], steps[-1], shown["step"]) == (11, 1, 70, 70)
    assert steps == sorted(steps)
    assert shown["best_step"] == 63
    assert 63 in steps

    listed, token = [], None
    while True:
        query = {"limit": 30} | ({"page_token": token} if token else {})
        page = http.get("/v1/studies/long/trials/0/evaluations", params=query).json()
        listed += page["evaluations"]
        token = page["next_page_token"]
        if token is None:
            break
    assert [one["step"] for one in listed] == list(range(1, 71))
    assert [one for one in listed if one["step"] in steps] == shown["intermediate_values"]


def test_pages_of_evaluations_stay_with_the_attempt_of_the_first(http: TestClient, store: Store) -> None:
    held = long_trial(http, store, "long", 4, n_trials=1)
    path = "/v1/studies/long/trials/0/evaluations"
    first = http.get(path, params={"limit": 2}).json()
    worker = HandWorker(http)
    worker.release(held)
    again = worker.take()
    worker.report(again, 1, 0.7)
    rest = http.get(path, params={"page_token": first["next_page_token"]}).json()
    assert [one["value"] for one in first["evaluations"] + rest["evaluations"]] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert [one["value"] for one in http.get(path).json()["evaluations"]] == [0.7]
    assert http.get("/v1/studies/long/trials/1/evaluations").status_code == 404
    for attempt in ("-1", "2147483648", "x"):
        answer = http.get(path, params={"page_token": write_token("step", attempt, 0)})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "page_token")


@pytest.mark.parametrize("foreign", [float("nan"), 0.001])
def test_values_that_another_program_gives_a_trial_do_not_choose_its_best(
    foreign: float, http: TestClient, store: Store, tmp_path: Path
) -> None:
    held = long_trial(http, store, "long", 3, n_trials=1)
    with store.writing() as tx:
        study = studies.lock(tx, "long")
        trials.add_value(tx, study, held["number"], 0, foreign)
    lease = HeldLease(lease_id=held["lease_id"], token=held["token"])
    assert report(store, [Report(**evaluation(held, 4, 0.9, final=True))])[0].keep_model
    outcome = TrialOutcome(kind="trial", state="COMPLETE", device_seconds=2.0)
    with closing(Proposer(store.metrics)) as proposer:
        tell(store, proposer, FolderFiles(tmp_path), lease.lease_id, lease.token, outcome)
    assert http.get("/v1/studies/long/best").json()["value"] == 1 / 3


def test_a_checkpoint_of_more_steps_than_were_reported_is_refused_at_once(http: TestClient, store: Store) -> None:
    held = long_trial(http, store, "long", 3, n_trials=1)
    worker = HandWorker(http)
    worker.release(held)
    checkpoint = {"study_id": held["study_id"], "number": 0, "attempt": 1, "step": 2**31 - 1}
    reply = http.post(f"/v1/workers/{worker.worker_id}/dispatch", json={"checkpoints": [checkpoint]})
    assert reply.json()["assignments"][0]["resume"] is None
