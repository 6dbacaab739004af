"""One state of the whole database, in the shape that the checker wants; plain SQL, none of the store's own code."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from service.store.optuna import tables as optuna
from service.store.sql import tables as ours


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    number: int
    state: str
    value: float | None
    intermediate_values: dict[int, float]
    partial_values: dict[int, float]
    """By step, values of a part of the validation rows."""
    failure_class: str | None
    pause: dict[str, Any] | None
    """Where it is paused, or was told to pause when it ended."""
    n_promoted: int
    reached: dict[str, list[Any]]
    """By rung."""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    uuid: str
    study_id: int
    name: str
    spec: str
    state: str
    finished_at: Any
    confirmation: str | None
    was_stopped: bool
    """A person has ended it before its time."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    studies: list[StudyRow]
    trials: dict[int, list[TrialRow]]
    """By Optuna's study id."""
    leases: dict[str, list[Row[Any]]]
    attempts: dict[str, list[Row[Any]]]
    events: dict[str, list[Row[Any]]]
    confirm_runs: dict[str, list[Row[Any]]]
    """By the study's UUID."""
    measurements: dict[tuple[str, int], list[Row[Any]]]
    """By the study's UUID and trial number."""
    artifacts: list[Row[Any]]
    sent_checkpoints: list[Row[Any]]

    @classmethod
    def read(cls, connection: Connection) -> "Snapshot":
        measurements = defaultdict(list)
        for row in _rows(connection, ours.measurement, "attempt", "step"):
            measurements[row.study_uuid, row.number].append(row)
        events = _by_study(connection, ours.event, "sequence")
        return cls(
            studies=_studies(connection, events),
            trials=_trials(connection),
            leases=_by_study(connection, ours.lease, "number"),
            attempts=_by_study(connection, ours.attempt, "number", "attempt"),
            events=events,
            confirm_runs=_by_study(connection, ours.confirm_run, "number", "seed"),
            measurements=measurements,
            artifacts=_rows(connection, ours.artifact, "lease_id", "file"),
            sent_checkpoints=_rows(connection, ours.sent_checkpoint, "lease_id"),
        )


def _studies(connection: Connection, events: dict[str, list[Row[Any]]]) -> list[StudyRow]:
    names = select(ours.study_spec, optuna.studies.c.study_name).join(
        optuna.studies, optuna.studies.c.study_id == ours.study_spec.c.study_id
    )
    return [
        StudyRow(
            uuid=row.uuid,
            study_id=row.study_id,
            name=row.study_name,
            spec=row.spec,
            state=row.state,
            finished_at=row.finished_at,
            confirmation=row.confirmation,
            was_stopped=any(event.payload.get("state") == "stopping" for event in events[row.uuid]),
        )
        for row in connection.execute(names)
    ]


def _trials(connection: Connection) -> dict[int, list[TrialRow]]:
    values = {row.trial_id: row.value for row in _rows(connection, optuna.trial_values)}
    attributes: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for table in (optuna.trial_user_attributes, optuna.trial_system_attributes):
        for row in _rows(connection, table):
            attributes[row.trial_id][row.key] = json.loads(row.value_json)
    steps: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for row in _rows(connection, optuna.trial_intermediate_values):
        steps[row.trial_id][row.step] = row.intermediate_value
    found: defaultdict[int, list[TrialRow]] = defaultdict(list)
    for row in _rows(connection, optuna.trials, "number"):
        trial = TrialRow(
            number=row.number,
            state=row.state,
            value=values.get(row.trial_id),
            intermediate_values=steps[row.trial_id],
            partial_values={
                int(step): value for step, value in attributes[row.trial_id].get("spezia:partial", {}).items()
            },
            failure_class=attributes[row.trial_id].get("spezia:failure", {}).get("failure_class"),
            pause=attributes[row.trial_id].get("spezia:paused"),
            n_promoted=attributes[row.trial_id].get("spezia:promoted", 0),
            reached=attributes[row.trial_id].get("spezia:reached", {}),
        )
        found[row.study_id].append(trial)
    return found


def _by_study(connection: Connection, table: Table, *order: str) -> dict[str, list[Row[Any]]]:
    found: defaultdict[str, list[Row[Any]]] = defaultdict(list)
    for row in _rows(connection, table, *order):
        found[row.study_uuid].append(row)
    return found


def _rows(connection: Connection, table: Table, *order: str) -> list[Row[Any]]:
    return list(connection.execute(select(table).order_by(*(table.c[name] for name in order))))
