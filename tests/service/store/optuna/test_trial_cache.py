"""What a process has seen of a study's trials holds only as long as it is so in the database."""

from collections.abc import Sequence

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, event

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.store import studies, trials
from service.store.optuna import transaction_trials, trial_cache
from service.store.optuna.transaction_trials import TransactionTrials
from service.store.optuna.trial_cache import Snapshot
from service.store.sql.statements import Row, Runner
from service.store.store import Store
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.service.hand_worker import spec
from tests.stock import stock_storage


@pytest.fixture
def other(engine: Engine, clock: FakeClock) -> Store:
    """The store of another process."""
    return Store(engine, clock)


@pytest.fixture(autouse=True)
def study(store: Store) -> None:
    create_study(store, plan_study(StudySpec.model_validate(spec())))
    for _ in range(3):
        add(store)


def add(store: Store, name: str = "feedback") -> None:
    with store.writing() as tx:
        study = studies.lock(tx, name)
        distributions = {"learning_rate": FloatDistribution(0.0, 1.0)}
        trials.add(tx, study, "RUNNING", {"learning_rate": 0.5}, distributions, system_attrs={}, user_attrs={})


def report(store: Store, number: int, step: int, value: float) -> None:
    with store.writing() as tx:
        study = studies.lock(tx, "feedback")
        trial = trials.add_value(tx, study, number, step, value)
        trials.report(tx, study, trial, step, value, {"rung": step})


def finish(store: Store, number: int, value: float) -> None:
    with store.writing() as tx:
        study = studies.lock(tx, "feedback")
        trial = trials.find(tx, study, number)
        assert trial is not None
        trials.finish(tx, study, trial, "COMPLETE", [value], None)


def seen(store: Store) -> list[FrozenTrial]:
    with store.reading() as tx:
        return trials.all_of(tx, studies.find(tx, "feedback"))


def test_what_a_process_wrote_it_sees_as_any_other_would(store: Store, engine: Engine, clock: FakeClock) -> None:
    seen(store)
    report(store, 1, 1, 0.25)
    report(store, 1, 2, 0.125)
    finish(store, 0, 0.5)
    add(store)
    assert seen(store) == seen(Store(engine, clock))
    assert seen(store)[1].intermediate_values == {1: 0.25, 2: 0.125}


def test_what_another_process_wrote_is_seen(store: Store, other: Store) -> None:
    seen(store)
    report(other, 1, 1, 0.25)
    assert seen(store)[1].intermediate_values == {1: 0.25}
    finish(other, 1, 0.25)
    add(other)
    assert [trial.state.name for trial in seen(store)] == ["RUNNING", "COMPLETE", "RUNNING", "RUNNING"]
    finish(store, 0, 1.0)
    assert seen(other) == seen(store)


def test_what_stock_optuna_wrote_is_seen(store: Store, database_url: str) -> None:
    seen(store)
    with stock_storage(database_url) as storage:
        theirs = optuna.load_study(study_name="feedback", storage=storage)
        theirs.tell(1, 0.25)
        theirs.ask()
    assert [trial.state.name for trial in seen(store)] == ["RUNNING", "COMPLETE", "RUNNING", "RUNNING"]
    assert seen(store)[1].value == 0.25


def test_what_was_rolled_back_is_seen_by_nobody(store: Store) -> None:
    before = seen(store)

    def cut_short() -> None:
        with store.writing() as tx:
            study = studies.lock(tx, "feedback")
            trials.finish(tx, study, before[0], "COMPLETE", [0.5], None)
            assert trials.all_of(tx, study)[0].state is TrialState.COMPLETE
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cut_short()
    assert seen(store) == before


def test_trials_that_have_not_changed_are_not_read_again(store: Store, engine: Engine) -> None:
    seen(store)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    seen(store)
    assert not [statement for statement in statements if "trial_params" in statement]


def test_only_the_trials_that_events_tell_of_are_read_again(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = seen(store)
    read = []
    whole = transaction_trials.load_trials

    def noted(connection: Connection, trial_ids: Sequence[int]) -> dict[int, FrozenTrial]:
        read.append(len(trial_ids))
        return whole(connection, trial_ids)

    monkeypatch.setattr(transaction_trials, "load_trials", noted)
    report(other, 1, 1, 0.25)
    read.clear()
    again = seen(store)
    assert read == [1]
    assert [after is before for after, before in zip(again, first, strict=True)] == [True, False, True]
    monkeypatch.setattr(transaction_trials, "MANY", 1)
    for step in (2, 3):
        report(other, 1, step, 0.25)
    read.clear()
    assert seen(store)[1].last_step == 3
    assert read == [3]  # too many events to look at each


def test_a_trial_that_runs_before_many_finished_ones_has_none_of_them_read_again(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        finish(store, number, 0.5)
    first, n_rows = seen(store), []

    class Noted(TransactionTrials):
        def __init__(self, runner: Runner, study_id: int, cached: Snapshot | None, rows: list[Row]) -> None:
            n_rows.append(len(rows))
            super().__init__(runner, study_id, cached, rows)

    monkeypatch.setattr("service.store.optuna.storage.TransactionTrials", Noted)
    report(other, 0, 1, 0.25)
    again = seen(store)
    assert n_rows[-1] == 2  # the revision and the one trial that runs
    assert [after is before for after, before in zip(again, first, strict=True)] == [False, True, True]


def test_a_trial_that_another_process_has_finished_last_of_all_is_kept(store: Store, other: Store) -> None:
    for number in range(3):
        seen(store)
        finish(other, number, 0.5)
    assert {one.state.name for one in seen(store)} == {"COMPLETE"}
    assert all(after is before for after, before in zip(seen(store), seen(store), strict=True))


def test_snapshots_are_kept_up_to_so_many_bytes_those_used_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.reading() as tx:
        ids = [studies.find(tx, "feedback").study_id]
    for number in range(40):
        create_study(store, plan_study(StudySpec.model_validate(spec(name=f"study-{number}"))))
        add(store, f"study-{number}")
        with store.reading() as tx:
            ids.append(studies.find(tx, f"study-{number}").study_id)
    assert all(store.caches.trials.get(study_id) for study_id in ids), "however many studies there are"
    with store.reading() as tx:
        first = trials.all_of(tx, studies.find(tx, "study-0"))
    finish(store, 0, 0.5)
    monkeypatch.setattr(trial_cache, "MAX_BYTES", 1000)
    finish(store, 1, 0.5)
    assert [study_id for study_id in ids if store.caches.trials.get(study_id)] == [ids[0]], "however large it is"
    with store.reading() as tx:
        assert trials.all_of(tx, studies.find(tx, "study-0")) == first


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # a SQLite has one writer
def test_what_another_process_writes_before_the_lock_of_a_study_is_seen_behind_it(store: Store, other: Store) -> None:
    with store.writing() as tx:
        before = trials.all_of(tx, studies.find(tx, "feedback"))
        finish(other, 1, 0.25)
        study = studies.lock(tx, "feedback")
        tx.ask(tx.trials.loading(study.study_id))
        assert [trial.state.name for trial in before] == ["RUNNING", "RUNNING", "RUNNING"]
        assert [trial.state.name for trial in trials.all_of(tx, study)] == ["RUNNING", "COMPLETE", "RUNNING"]
