"""Studies in Optuna's storage interface, inside the caller's transaction; `storage` adds the trials."""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from sqlalchemy import Connection, Table, bindparam, delete, insert, select

from service.optuna_private import FrozenStudy
from service.store.optuna.tables import (
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
from service.store.sql.statements import Call, Row, Runner, Statement
from service.store.sql.upsert import insert_of, upsert

_STUDY_NAME = select(studies.c.study_name).where(studies.c.study_id == bindparam("study_id"))

_SYSTEM_ATTRS = Statement(
    select(study_system_attributes).where(study_system_attributes.c.study_id == bindparam("study_id"))
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


class SqlStudies(BaseStorage):
    """The half of `SqlStorage` that knows studies.

    Args:
        runner: Runs statements on a connection with a transaction begun.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def _connection(self) -> Connection:
        return self._runner.connection

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = f"no-name-{uuid.uuid4()}" if study_name is None else study_name
        statement = insert_of(self._connection, studies).values(study_name=name).on_conflict_do_nothing()
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

    def study_system_attrs(self, study_id: int) -> Call[dict[str, Any]]:
        """Ask for the system attributes of a study; none if there is no such study."""
        return _SYSTEM_ATTRS.then(_attrs, study_id=study_id)

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

    def _require_study(self, study_id: int, lock: bool = False) -> str:
        wanted = _STUDY_NAME.with_for_update(key_share=True) if lock else _STUDY_NAME
        row = self._connection.execute(wanted, {"study_id": study_id}).first()
        if row is None:
            raise KeyError(f"there is no study with id {study_id}")
        return str(row.study_name)

    def _set_study_attr(self, table: Table, study_id: int, key: str, value: Any) -> None:
        self._require_study(study_id)
        self._set_attr(table, "study_id", study_id, key, value)

    def _set_attr(self, table: Table, owner: str, owner_id: int, key: str, value: Any) -> None:
        row = {owner: owner_id, "key": key, "value_json": json.dumps(value)}
        self._runner.write(upsert(table, owner, "key").rows(**row))

    def _study_attrs(self, table: Table, study_id: int) -> dict[str, Any]:
        rows = self._connection.execute(select(table).where(table.c.study_id == study_id)).all()
        if not rows:
            self._require_study(study_id)
        return _attrs(rows)


def _attrs(rows: Iterable[Row]) -> dict[str, Any]:
    return {row.key: json.loads(row.value_json) for row in rows}
