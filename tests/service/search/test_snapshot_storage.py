from collections.abc import Callable

import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from service.search.snapshot_storage import NEW_TRIAL_ID, SnapshotIsReadOnly, SnapshotStorage, running_trial
from tests.service.search.builders import make_trial


def make_storage() -> SnapshotStorage:
    return SnapshotStorage(
        study_name="s",
        directions=["maximize"],
        trials=[make_trial(0), make_trial(2, state=TrialState.RUNNING)],
        own=running_trial(1, {}),
        study_system_attrs={"counter": 3},
    )


def test_shows_the_given_trials_and_its_own_in_order_without_copies() -> None:
    trials = [make_trial(2), make_trial(0)]
    storage = SnapshotStorage(
        study_name="s", directions=["minimize"], trials=trials, own=running_trial(1, {}), study_system_attrs={}
    )
    shown = storage.get_all_trials(0, deepcopy=False)
    assert [trial.number for trial in shown] == [0, 1, 2]
    assert shown[2] is trials[0]
    assert storage.get_all_trials(0, deepcopy=True)[2] is not trials[0]
    assert [t.number for t in storage.get_all_trials(0, states=[TrialState.RUNNING])] == [1]
    assert storage.get_study_directions(0) == [StudyDirection.MINIMIZE]


def test_collects_what_is_written_and_leaves_what_was_fetched_before() -> None:
    storage = make_storage()
    before = storage.get_all_trials(0, deepcopy=False)
    storage.set_trial_system_attr(NEW_TRIAL_ID, "tpe:relative_params:0", "{}")
    storage.set_trial_param(NEW_TRIAL_ID, "x", 0.5, FloatDistribution(0, 1))
    storage.set_study_system_attr(0, "counter", 4)
    assert storage.written_system_attrs == {"tpe:relative_params:0": "{}"}
    assert storage.own.params == {"x": 0.5}
    assert storage.written_study_system_attrs == {"counter": 4}
    assert storage.get_study_system_attrs(0) == {"counter": 4}
    assert before[1].system_attrs == {}
    assert before[1].params == {}


def test_refuses_every_other_write() -> None:
    storage = make_storage()
    writes: list[Callable[[], object]] = [
        lambda: storage.set_trial_system_attr(1000, "a", 1),
        lambda: storage.set_trial_param(1000, "x", 0.5, FloatDistribution(0, 1)),
        lambda: storage.set_trial_state_values(NEW_TRIAL_ID, TrialState.COMPLETE, [1.0]),
        lambda: storage.set_trial_intermediate_value(NEW_TRIAL_ID, 1, 0.1),
        lambda: storage.set_trial_user_attr(NEW_TRIAL_ID, "a", 1),
        lambda: storage.set_study_user_attr(0, "a", 1),
        lambda: storage.create_new_study([StudyDirection.MINIMIZE]),
        lambda: storage.delete_study(0),
        lambda: storage.get_all_studies(),
    ]
    for write in writes:
        with pytest.raises(SnapshotIsReadOnly):
            write()


def test_defines_every_method_of_a_storage() -> None:
    assert isinstance(make_storage(), BaseStorage)
