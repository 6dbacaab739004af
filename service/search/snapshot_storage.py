"""A snapshot of a study as an Optuna storage, which is what samplers and pruners expect."""

import copy
from bisect import insort
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.optuna_private import FrozenStudy, all_but, id_of, number_of
from spezia.contract.tasks import Direction

STUDY_ID = 0
"""Id of the one study in a snapshot."""
NEW_TRIAL_ID = -1
"""Id of a trial that is being proposed; no stored trial has it."""


class SnapshotIsReadOnly(RuntimeError):
    """A sampler or pruner wrote to something other than its own trial or the study's system attributes."""


class SnapshotStorage(BaseStorage):  # type: ignore[misc,unused-ignore]
    """The given trials, never copied or changed, and the one trial that is being proposed or judged.

    ``trials`` are gone through once, when they are first asked for: there may be 10,000, and many a sampler or pruner
    looks at none.

    Params and system attributes may be written to that one trial, and system attributes to the study. They
    are collected here, so that the caller stores them in its own transaction.
    """

    def __init__(
        self,
        *,
        study_name: str,
        directions: Sequence[Direction],
        trials: Iterable[FrozenTrial],
        own: FrozenTrial,
        study_system_attrs: Mapping[str, Any],
    ) -> None:
        self._study_name = study_name
        self._directions = [StudyDirection[direction.upper()] for direction in directions]
        self._study_system_attrs = dict(study_system_attrs)
        self._trials = trials
        self._own = own
        self.written_system_attrs: dict[str, Any] = {}
        """System attributes that the own trial has gained."""
        self.written_study_system_attrs: dict[str, Any] = {}
        """System attributes that the study has gained."""

    @property
    def own(self) -> FrozenTrial:
        """The trial that is being proposed or judged, with all that has been written to it."""
        return self._own

    @cached_property
    def others(self) -> list[FrozenTrial]:
        """The given trials by number, without the one that is being proposed or judged."""
        others = all_but(self._own.number, self._trials)
        others.sort(key=number_of)  # nearly sorted, so this is linear
        return others

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Hand out the trial that is being proposed."""
        return id_of(self._own)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._check_own(trial_id)
        own = copy.copy(self._own)
        own.params = own.params | {param_name: distribution.to_external_repr(param_value_internal)}
        own.distributions = own.distributions | {param_name: distribution}
        self._own = own

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._check_own(trial_id)
        self.written_system_attrs[key] = value
        # a new object: successive halving counts a list that it fetched before it wrote
        own = copy.copy(self._own)
        own.system_attrs = own.system_attrs | {key: value}
        self._own = own

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.written_study_system_attrs[key] = value
        self._study_system_attrs[key] = value

    def get_study_id_from_name(self, study_name: str) -> int:
        return STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study_name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._study_system_attrs

    def get_all_studies(self) -> list[FrozenStudy]:
        _refuse("list studies")

    def get_trial(self, trial_id: int) -> FrozenTrial:
        self._check_own(trial_id)
        return self._own

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = self.others.copy() if states is None else [one for one in self.others if one.state in states]
        if states is None or self._own.state in states:
            insort(trials, self._own, key=number_of)
        return copy.deepcopy(trials) if deepcopy else trials

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        _refuse("create a study")

    def delete_study(self, study_id: int) -> None:
        _refuse("delete the study")

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        _refuse(f"set the study's user attribute {key}")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        _refuse(f"set the state of trial id {trial_id}")

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        _refuse(f"set a value of trial id {trial_id}")

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        _refuse(f"set the user attribute {key} of trial id {trial_id}")

    def _check_own(self, trial_id: int) -> None:
        if trial_id != id_of(self._own):
            _refuse(f"touch trial id {trial_id}")


def running_trial(number: int, system_attrs: Mapping[str, Any]) -> FrozenTrial:
    """Return a trial that has a number but no params yet."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs=dict(system_attrs),
        intermediate_values={},
        trial_id=NEW_TRIAL_ID,
    )


def _refuse(action: str) -> NoReturn:
    raise SnapshotIsReadOnly(f"a sampler or pruner tried to {action}; only its own trial can be written")
