"""Optuna's storage interface inside the caller's transaction.

Stock ``RDBStorage`` commits on connections of its own, ten times for one ask, and on SQLite lets two
threads claim one trial. ``SqlStorage`` commits nothing: what it writes lives and dies with the caller's
transaction, together with the lease or the report that belongs to it. It passes Optuna's own
``StorageTestCase`` but for pickling, which a transaction cannot do.
"""

import copy
import json
import uuid
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.store.finished_trials import FinishedTrials
from service.store.frozen import (
    insert_contents,
    intermediate_row,
    load_trials,
    to_stored_time,
    value_row,
)
from service.store.optuna_tables import (
    studies,
    study_directions,
    study_system_attributes,
    study_user_attributes,
    trial_heartbeats,
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)

_OF_TRIAL = (
    trial_params,
    trial_values,
    trial_intermediate_values,
    trial_heartbeats,
    trial_user_attributes,
    trial_system_attributes,
)
_OF_STUDY = (study_directions, study_user_attributes, study_system_attributes)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqlStorage(BaseStorage):
    """Not shared between threads: it lives as long as one transaction.

    Args:
        connection: With a transaction begun. Nothing here commits or rolls back.
        now: The instant that trials start and end at.
        finished: Finished trials known from earlier transactions; the caller publishes
            ``seen_finished`` to it after its commit, never before.
    """

    def __init__(
        self,
        connection: Connection,
        now: Callable[[], datetime] = _utc_now,
        finished: FinishedTrials | None = None,
    ) -> None:
        self._connection = connection
        self._now = now
        self._finished = finished or FinishedTrials()
        self.seen_finished: dict[int, dict[int, FrozenTrial]] = {}
        """Finished trials read in this transaction, by study id and trial id."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("SqlStorage lives inside one open transaction and cannot be pickled")

    # studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = f"no-name-{uuid.uuid4()}" if study_name is None else study_name
        statement = self._upsert(studies).values(study_name=name).on_conflict_do_nothing()
        study_id = self._connection.execute(statement.returning(studies.c.study_id)).scalar_one_or_none()
        if study_id is None:
            raise DuplicatedStudyError(f"there is a study {name!r} already")
        rows = [
            {"study_id": study_id, "objective": index, "direction": direction.name}
            for index, direction in enumerate(directions)
        ]
        self._connection.execute(insert(study_directions), rows)
        return int(study_id)

    def delete_study(self, study_id: int) -> None:
        self._require_study(study_id)
        its_trials = select(trials.c.trial_id).where(trials.c.study_id == study_id)
        for table in _OF_TRIAL:
            self._connection.execute(delete(table).where(table.c.trial_id.in_(its_trials)))
        for table in (trials, *_OF_STUDY, studies):
            self._connection.execute(delete(table).where(table.c.study_id == study_id))
        self.seen_finished.pop(study_id, None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attr(study_user_attributes, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_study_attr(study_system_attributes, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        row = self._connection.execute(select(studies.c.study_id).where(studies.c.study_name == study_name)).first()
        if row is None:
            raise KeyError(f"there is no study {study_name!r}")
        return int(row.study_id)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._require_study(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        self._require_study(study_id)
        of_study = select(study_directions).where(study_directions.c.study_id == study_id)
        rows = self._connection.execute(of_study.order_by(study_directions.c.objective))
        return [StudyDirection[row.direction] for row in rows]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._study_attrs(study_user_attributes, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._study_attrs(study_system_attributes, study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        rows = self._connection.execute(select(studies).order_by(studies.c.study_id)).all()
        return [
            FrozenStudy(
                study_name=row.study_name,
                direction=None,
                directions=self.get_study_directions(row.study_id),
                user_attrs=self.get_study_user_attrs(row.study_id),
                system_attrs=self.get_study_system_attrs(row.study_id),
                study_id=row.study_id,
            )
            for row in rows
        ]

    # trials, written

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        # the study's row is locked first, always: numbers are given under it
        self._require_study(study_id, lock=True)
        number = select(func.count()).where(trials.c.study_id == study_id).scalar_subquery()
        if template_trial is None:
            times: dict[str, datetime | None] = {"datetime_start": self._now_stored()}
            state = TrialState.RUNNING
        else:
            times = {
                "datetime_start": to_stored_time(template_trial.datetime_start),
                "datetime_complete": to_stored_time(template_trial.datetime_complete),
            }
            state = template_trial.state
        row = insert(trials).values(study_id=study_id, number=number, state=state.name, **times)
        trial_id = int(self._connection.execute(row.returning(trials.c.trial_id)).scalar_one())
        if template_trial is not None:
            insert_contents(self._connection, trial_id, template_trial)
        return trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._require_updatable(trial_id)
        before = self._first_distribution(trial_id, param_name)
        if before is not None:
            check_distribution_compatibility(before, distribution)
        row = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
        statement = self._upsert(trial_params).values(trial_id=trial_id, param_name=param_name, **row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["trial_id", "param_name"], set_=row))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        current = self._require_updatable(trial_id)
        if state == TrialState.RUNNING and current != TrialState.WAITING:
            return False
        changes: dict[str, Any] = {"state": state.name}
        if state == TrialState.RUNNING:
            changes["datetime_start"] = self._now_stored()
        if state.is_finished():
            changes["datetime_complete"] = self._now_stored()
        # the state is compared in the same statement, so that of two claims one wins
        claim = update(trials).where(trials.c.trial_id == trial_id, trials.c.state == current.name)
        if self._connection.execute(claim.values(**changes)).rowcount != 1:
            return False
        for objective, value in enumerate(values or ()):
            row = value_row(trial_id, objective, value)
            statement = self._upsert(trial_values).values(**row)
            self._connection.execute(
                statement.on_conflict_do_update(index_elements=["trial_id", "objective"], set_=row)
            )
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._require_updatable(trial_id)
        row = intermediate_row(trial_id, step, intermediate_value)
        statement = self._upsert(trial_intermediate_values).values(**row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=["trial_id", "step"], set_=row))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_user_attributes, "trial_id", trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_system_attributes, "trial_id", trial_id, key, value)

    # trials, read

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        wanted = select(trials.c.trial_id).where(trials.c.study_id == study_id, trials.c.number == trial_number)
        trial_id = self._connection.execute(wanted).scalar_one_or_none()
        if trial_id is None:
            raise KeyError(f"study {study_id} has no trial number {trial_number}")
        return int(trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        found = load_trials(self._connection, [trial_id])
        if trial_id not in found:
            raise KeyError(f"there is no trial with id {trial_id}")
        return found[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._require_study(study_id)
        ids = select(trials.c.trial_id).where(trials.c.study_id == study_id).order_by(trials.c.trial_id)
        in_order = self._connection.execute(ids).scalars().all()
        known = self._finished.of(study_id) | self.seen_finished.get(study_id, {})
        loaded = load_trials(self._connection, [trial_id for trial_id in in_order if trial_id not in known])
        newly = {trial_id: trial for trial_id, trial in loaded.items() if trial.state.is_finished()}
        self.seen_finished.setdefault(study_id, {}).update(newly)
        found = (known.get(trial_id) or loaded[trial_id] for trial_id in in_order)
        chosen = [trial for trial in found if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    # helpers

    def _now_stored(self) -> datetime:
        return self._now().astimezone(UTC).replace(tzinfo=None)

    def _upsert(self, table: Table) -> Any:
        return (postgresql if self._connection.dialect.name == "postgresql" else sqlite).insert(table)

    def _require_study(self, study_id: int, lock: bool = False) -> str:
        wanted = select(studies.c.study_name).where(studies.c.study_id == study_id)
        row = self._connection.execute(wanted.with_for_update(key_share=True) if lock else wanted).first()
        if row is None:
            raise KeyError(f"there is no study with id {study_id}")
        return str(row.study_name)

    def _require_updatable(self, trial_id: int) -> TrialState:
        wanted = select(trials.c.state).where(trials.c.trial_id == trial_id).with_for_update(key_share=True)
        row = self._connection.execute(wanted).first()
        if row is None:
            raise KeyError(f"there is no trial with id {trial_id}")
        state = TrialState[row.state]
        self.check_trial_is_updatable(trial_id, state)
        return state

    def _first_distribution(self, trial_id: int, param_name: str) -> BaseDistribution | None:
        study_id = select(trials.c.study_id).where(trials.c.trial_id == trial_id).scalar_subquery()
        wanted = (
            select(trial_params.c.distribution_json)
            .join(trials)
            .where(trials.c.study_id == study_id, trial_params.c.param_name == param_name)
            .limit(1)
        )
        row = self._connection.execute(wanted).first()
        return None if row is None else json_to_distribution(row.distribution_json)

    def _set_study_attr(self, table: Table, study_id: int, key: str, value: Any) -> None:
        self._require_study(study_id)
        self._set_attr(table, "study_id", study_id, key, value)

    def _set_attr(self, table: Table, owner: str, owner_id: int, key: str, value: Any) -> None:
        row = {"value_json": json.dumps(value)}
        statement = self._upsert(table).values(**{owner: owner_id}, key=key, **row)
        self._connection.execute(statement.on_conflict_do_update(index_elements=[owner, "key"], set_=row))

    def _study_attrs(self, table: Table, study_id: int) -> dict[str, Any]:
        self._require_study(study_id)
        rows = self._connection.execute(select(table).where(table.c.study_id == study_id))
        return {row.key: json.loads(row.value_json) for row in rows}
