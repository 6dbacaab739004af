"""Three hundred open studies: a call costs what it costs beside one, and no work is overlooked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from service.failpoints import armed
from service.files.folder_files import FolderFiles
from service.lifecycle.leases.dispatch import dispatch
from service.lifecycle.leases.end_orphans import end_orphans
from service.lifecycle.leases.reap import reap
from service.lifecycle.leases.report import report
from service.lifecycle.leases.tell import tell
from service.lifecycle.model_folders import remove_dropped_folders
from service.lifecycle.models.write_card import write_missing_cards
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.studies.settle_overdue import settle_overdue
from service.lifecycle.workers.register_worker import register_worker
from service.search.propose.propose import ProposalRequest, propose
from service.search.propose.proposer import Proposer
from service.store import artifacts, attempts, leases, studies
from service.store.attempts import Asker
from service.store.leases import Lease
from service.store.store import Store
from service.store.trials import add, finish
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.outcomes import TrialOutcome
from spezia.contract.protocol import Report, WorkerRegistration
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.faults.actors import DEVICE
from tests.service.hand_worker import FACTS, spec

pytestmark = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)

N_STUDIES = 300
WORKER = "f" * 32


@pytest.fixture
def store(engine: Engine, clock: FakeClock) -> Store:
    store = Store(engine, clock)
    register(store, WORKER)
    return store


def register(store: Store, worker_id: str) -> None:
    register_worker(store, WorkerRegistration(worker_id=worker_id, host="here", device=DEVICE, versions={}, protocol=1))


def begin_full_study(store: Store, number: int) -> Lease:
    """A study with a trial that runs, beside which no other may; its worker computes elsewhere."""
    name = f"study-{number}"
    create_study(store, plan_study(StudySpec.model_validate(spec(name=name, n_parallel=1))))
    with store.writing() as tx:
        study = studies.change(tx, studies.lock(tx, name), facts=Facts(**FACTS))
        proposal = propose(ProposalRequest(spec=study.spec, study_name=name, number=0, trials=[]))
        assert proposal is not None
        add(tx, study, "RUNNING", proposal.params, proposal.distributions, system_attrs={}, user_attrs={})
        return attempts.begin(tx, study.uuid, "trial", 0, Asker(f"{number:032x}", "cpu", "cpu", {}), n_past=0)


def begin_finished_study(store: Store, folder: Path, number: int) -> None:
    """A study that has ended, with one trial, whose model is kept and has its card."""
    name = f"study-{number}"
    create_study(store, plan_study(StudySpec.model_validate(spec(name=name, n_trials=1))))
    with store.writing() as tx:
        study = studies.change(tx, studies.lock(tx, name), facts=Facts(**FACTS))
        trial = add(tx, study, "RUNNING", {}, {}, system_attrs={}, user_attrs={})
        held = attempts.begin(tx, study.uuid, "trial", 0, Asker(WORKER, "cpu", "cpu", {}), n_past=0)
        artifacts.add(tx, held, "model.bin", 1, "0" * 64)
        artifacts.show(tx, held.lease_id)
        finish(tx, study, trial, "COMPLETE", [0.5], None)
        attempts.close(tx, held, "COMPLETE", device_seconds=1.0)
        tx.ask(leases.end(held.lease_id, held.token))
        studies.change(tx, study, state="complete", finished_at=tx.now, has_card=True)
    (folder / held.lease_id).mkdir(parents=True)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are run meanwhile; of those that the driver runs itself only that there was one."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with armed("statement", lambda: found.append("")):
            yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_f65_a_call_costs_beside_300_open_studies_what_it_costs_beside_one(store: Store, engine: Engine) -> None:
    proposer, steps = Proposer(store.metrics), {}

    def look() -> None:
        assert dispatch(store, proposer, WORKER, 1).assignments == []

    def report_once(held: Lease) -> None:
        steps[held.lease_id] = step = steps.get(held.lease_id, 0) + 1
        values = {"epoch": float(step), "optimizer_steps": step, "value": 1 / step, "final": False}
        one = Report(
            lease_id=held.lease_id, token=held.token, step=step, metrics={"validation_loss": 1 / step}, **values
        )
        assert [reply.directive for reply in report(store, [one])] == ["continue"]

    def cost(act: Callable[[], None]) -> list[str]:
        with counted(engine) as statements:
            act()
        return statements

    first = begin_full_study(store, 0)
    report_once(first)
    look()
    alone = cost(look), cost(lambda: report_once(first))
    held = [first, *(begin_full_study(store, number) for number in range(1, N_STUDIES))]
    for one in held[1:]:
        report_once(one)
    writes = n_writes(store)
    assert cost(look) == alone[0]
    assert n_writes(store) == writes
    for one in held[:: N_STUDIES // 10]:
        assert cost(lambda one=one: report_once(one)) == alone[1]
    proposer.close()


@contextmanager
def counted_steps(engine: Engine) -> Iterator[list[int]]:
    """The steps of SQLite's virtual machine, which tell how many rows are looked at; none of another database."""
    steps = [0]

    def step() -> None:
        steps[0] += 1

    def begin(connection: Any) -> None:
        connection.connection.dbapi_connection.set_progress_handler(step, 1)

    def end(connection: Any) -> None:
        connection.connection.dbapi_connection.set_progress_handler(None, 1)

    if engine.dialect.name != "sqlite":
        yield steps
        return
    for moment, act in (("begin", begin), ("commit", end), ("rollback", end)):
        event.listen(engine, moment, act)
    try:
        yield steps
    finally:
        for moment, act in (("begin", begin), ("commit", end), ("rollback", end)):
            event.remove(engine, moment, act)


def test_f65_a_round_of_the_reaper_costs_after_300_finished_studies_what_it_costs_after_one(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"

    def round_of_the_reaper() -> tuple[list[str], int]:
        with counted(engine) as statements, counted_steps(engine) as steps:
            reap(store)
            end_orphans(store)
            settle_overdue(store)
            remove_dropped_folders(store, FolderFiles(tmp_path))
            write_missing_cards(store, FolderFiles(tmp_path))
        return statements, steps[0]

    begin_finished_study(store, folder, 0)
    round_of_the_reaper()
    statements, steps = round_of_the_reaper()
    for number in range(1, N_STUDIES):
        begin_finished_study(store, folder, number)
    assert round_of_the_reaper()[0] == statements
    assert round_of_the_reaper()[1] <= steps + 50
    assert len(list(folder.iterdir())) == N_STUDIES


def test_f65_the_work_of_one_among_300_open_studies_is_found(store: Store, tmp_path: Path) -> None:
    proposer = Proposer(store.metrics)
    held = [begin_full_study(store, number) for number in range(N_STUDIES)]
    failure = Failure(failure_class="exception", message="it broke")
    for number in (271, 13):
        outcome = TrialOutcome(kind="trial", state="FAIL", failure=failure, device_seconds=1.0)
        tell(store, proposer, FolderFiles(tmp_path), held[number].lease_id, held[number].token, outcome)
        register(store, held[number].worker_id)
        [found] = dispatch(store, proposer, held[number].worker_id, 1).assignments
        assert found.study == f"study-{number}"
    proposer.close()


def n_writes(store: Store) -> float | None:
    return store.metrics.registry.get_sample_value("spezia_transaction_seconds_count", {"access": "writing"})
