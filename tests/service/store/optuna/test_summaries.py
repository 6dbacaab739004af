"""The summary of a study's first trials is made of each of them once, and is that of exactly these."""

from collections.abc import Sequence

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Engine

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.search.pruning.curves import Curves
from service.store import studies, trials
from service.store.optuna.summaries import StateCounts, Summaries
from service.store.store import Store
from service.store.transaction import Transaction
from spezia.contract.failure import Failure
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.service.hand_worker import spec

SPACE = {"learning_rate": FloatDistribution(0.0, 1.0)}
ENDS = {"COMPLETE": None, "FAIL": Failure(failure_class="diverged", message="NaN"), "PRUNED": None}


class Numbers:
    """The numbers of trials, and how many times some were added."""

    def __init__(self, numbers: tuple[int, ...] = (), n_times: int = 0) -> None:
        self.numbers = numbers
        self.n_times = n_times

    def extended(self, trials: Sequence[FrozenTrial]) -> "Numbers":
        return Numbers(self.numbers + tuple(trial.number for trial in trials), self.n_times + 1)


def some(count: int) -> list[FrozenTrial]:
    found = [create_trial(state=TrialState.FAIL) for _ in range(count)]
    for number, trial in enumerate(found):
        trial.number = number
    return found


def unasked() -> list[FrozenTrial]:
    raise AssertionError("all trials were gone through")


def test_each_trial_is_added_once() -> None:
    first, newly = some(5)[:3], some(5)[3:]
    summaries = Summaries()
    assert summaries.of(Numbers, lambda: first).numbers == (0, 1, 2)
    later = summaries.extended(newly)
    assert later.of(Numbers, unasked).numbers == (0, 1, 2, 3, 4)
    assert later.of(Numbers, unasked).n_times == 2


def test_an_older_snapshot_keeps_its_own() -> None:
    summaries = Summaries()
    before = summaries.of(Numbers, lambda: some(3))
    summaries.extended(some(2))
    assert summaries.of(Numbers, unasked) is before


def test_kinds_are_kept_apart() -> None:
    summaries = Summaries()
    assert summaries.of(Numbers, lambda: some(2)).numbers == (0, 1)
    assert summaries.of(StateCounts, lambda: some(2)).by_state == {TrialState.FAIL: 2}


@pytest.fixture
def stores(store: Store, engine: Engine, clock: FakeClock) -> list[Store]:
    """Of two processes, with a study."""
    create_study(store, plan_study(StudySpec.model_validate(spec(n_trials=100))))
    return [store, Store(engine, clock)]


def begin(tx: Transaction) -> int:
    study = studies.lock(tx, "feedback")
    return trials.add(tx, study, "RUNNING", {"learning_rate": 0.5}, SPACE, system_attrs={}, user_attrs={}).number


def end(tx: Transaction, number: int, state: str) -> None:
    study = studies.lock(tx, "feedback")
    trial = trials.add_value(tx, study, number, 1, 0.25)
    trials.report(tx, study, trial, 1, 0.25, {})
    trials.finish(tx, study, trial, state, [0.25] if state != "FAIL" else None, ENDS[state])  # type: ignore[arg-type]


def told(store: Store) -> tuple[object, ...]:
    with store.reading() as tx:
        study = studies.find(tx, "feedback")
        curves = tx.trials.summary(study.study_id, Curves)
        values = [sorted(value for values in curves.at(1, None) for value in values), curves.n_complete]
        return trials.counts(tx, study), trials.failures_by_class(tx, study), values


def test_processes_tell_the_same_in_whatever_order_trials_end(
    stores: list[Store], engine: Engine, clock: FakeClock
) -> None:
    for step, (number, state) in enumerate([(1, "FAIL"), (0, "COMPLETE"), (3, "PRUNED"), (2, "FAIL"), (4, "COMPLETE")]):
        one, other = stores[step % 2], stores[1 - step % 2]
        with one.writing() as tx:
            begin(tx)
            begin(tx)
        with other.writing() as tx:
            end(tx, number, state)
        fresh = Store(engine, clock)
        assert told(one) == told(other) == told(fresh)
    assert told(fresh)[1] == {"diverged": 2}


def test_what_was_rolled_back_is_in_no_summary(stores: list[Store]) -> None:
    def cut_short() -> None:
        with stores[0].writing() as tx:
            end(tx, 0, "FAIL")
            study = studies.lock(tx, "feedback")
            assert trials.failures_by_class(tx, study) == {"diverged": 1}
            tx.trials.summary(study.study_id, Curves)
            raise RuntimeError("power cut")

    with stores[0].writing() as tx:
        begin(tx)
    before = told(stores[0])
    with pytest.raises(RuntimeError, match="power cut"):
        cut_short()
    assert told(stores[0]) == before
    with stores[0].writing() as tx:
        end(tx, 0, "COMPLETE")
    assert told(stores[0]) == told(stores[1])
