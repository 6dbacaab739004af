"""Rows of Optuna's tables as Optuna's ``FrozenTrial`` and back, by statements that read or write many at once."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, insert, select

from service.store.optuna.tables import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from service.store.sql.statements import Runner, Statement
from spezia.contract.remember import remember

IDS_PER_STATEMENT = 500
"""Number of trials that one statement reads."""
ROWS_PER_STATEMENT = 100
"""Number of rows that one statement writes: SQLite may allow no more than 999 bound values."""


def load_trials(
    connection: Connection, trial_ids: Sequence[int], steps: Collection[int] | None = None
) -> dict[int, FrozenTrial]:
    """Read whole trials, by id: six statements for each 500 trials.

    Args:
        steps: Steps whose intermediate values are read; ``None``: all.
    """
    found: dict[int, FrozenTrial] = {}
    for start in range(0, len(trial_ids), IDS_PER_STATEMENT):
        found |= _load_some(connection, trial_ids[start : start + IDS_PER_STATEMENT], steps)
    return found


def insert_contents(runner: Runner, trial_id: int, trial: FrozenTrial) -> None:
    """Write params, values, attributes and intermediate values of a trial whose row exists."""
    values = trial.values if trial.values is not None else []
    many: list[tuple[Table, list[dict[str, Any]]]] = [
        (trial_params, [_param_row(trial_id, name, trial) for name in trial.params]),
        (trial_values, [value_row(trial_id, index, value) for index, value in enumerate(values)]),
        (trial_user_attributes, _attribute_rows(trial_id, trial.user_attrs)),
        (trial_system_attributes, _attribute_rows(trial_id, trial.system_attrs)),
    ]
    for table, rows in many:
        _insert(runner, table, rows)
    insert_intermediate_values(runner, trial_id, trial.intermediate_values)


def insert_intermediate_values(runner: Runner, trial_id: int, values: Mapping[int, float]) -> None:
    """Write intermediate values, by step, of a trial that has none at these steps."""
    rows = [intermediate_row(trial_id, step, value) for step, value in values.items()]
    _insert(runner, trial_intermediate_values, rows)


def _insert(runner: Runner, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        some = rows[start : start + ROWS_PER_STATEMENT]
        values = {f"{name}_{at}": value for at, row in enumerate(some) for name, value in row.items()}
        runner.write(_insert_rows(table, tuple(some[0]), len(some)).rows(**values))


@cache
def _insert_rows(table: Table, columns: tuple[str, ...], n_rows: int) -> Statement:
    rows = [{name: bindparam(f"{name}_{at}", type_=table.c[name].type) for name in columns} for at in range(n_rows)]
    return Statement(insert(table).values(rows))


@lru_cache(maxsize=4096)
def shared_distribution(stored: str) -> BaseDistribution:
    """Return one object for all trials that have a distribution: they are many, and none changes it."""
    return json_to_distribution(stored)


@remember(4096)
def distribution_json(distribution: BaseDistribution) -> str:
    """Return a distribution as Optuna's tables hold it; it is remembered, as nobody changes one."""
    return distribution_to_json(distribution)


def _param_row(trial_id: int, name: str, trial: FrozenTrial) -> dict[str, Any]:
    """Return the row of a param as `trial_params` holds it."""
    distribution = trial.distributions[name]
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": distribution.to_internal_repr(trial.params[name]),
        "distribution_json": distribution_json(distribution),
    }


def value_row(trial_id: int, objective: int, value: float) -> dict[str, Any]:
    """Return the row of the value of an objective as `trial_values` holds it."""
    stored, kind = _to_stored(value)
    return {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}


def intermediate_row(trial_id: int, step: int, value: float) -> dict[str, Any]:
    """Return the row of an intermediate value as `trial_intermediate_values` holds it."""
    stored, kind = _to_stored(value)
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }


def _attribute_rows(trial_id: int, attributes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of attributes as `trial_user_attributes` and `trial_system_attributes` hold them."""
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(v)} for key, v in attributes.items()]


def to_stored_time(local: datetime | None) -> datetime | None:
    """Return an instant as Optuna's tables hold it, naive UTC; Optuna shows it as naive local time."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def to_shown_time(utc: datetime) -> datetime:
    """Return an instant of Optuna's tables, which is naive UTC, as Optuna shows it: naive local time."""
    return utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _shown(utc: datetime | None) -> datetime | None:
    return None if utc is None else to_shown_time(utc)


def _to_stored(value: float) -> tuple[float | None, str]:
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def _from_stored(value: float | None, kind: str) -> float:
    special = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}
    if kind in special:
        return special[kind]
    assert value is not None
    return value


def _load_some(
    connection: Connection, trial_ids: Sequence[int], only_steps: Collection[int] | None
) -> dict[int, FrozenTrial]:
    # states first: who sees a finished trial then sees all of it, also where each statement has its own snapshot
    rows = connection.execute(select(trials).where(trials.c.trial_id.in_(trial_ids))).all()
    params, values, user, system = (
        _rows_by_trial(connection, table, trial_ids)
        for table in (trial_params, trial_values, trial_user_attributes, trial_system_attributes)
    )
    reported = trial_intermediate_values
    wanted = () if only_steps is None else (reported.c.step.in_(only_steps),)
    steps = _rows_by_trial(connection, reported, trial_ids, *wanted)
    return {
        row.trial_id: _freeze(
            row,
            params[row.trial_id],
            values[row.trial_id],
            steps[row.trial_id],
            user[row.trial_id],
            system[row.trial_id],
        )
        for row in rows
    }


def _rows_by_trial(
    connection: Connection, table: Table, trial_ids: Iterable[int], *conditions: ColumnElement[bool]
) -> defaultdict[int, list[Row[Any]]]:
    # in the order of the primary key, which is the order of writing
    primary_key = next(iter(table.primary_key.columns))
    grouped: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    wanted = select(table).where(table.c.trial_id.in_(trial_ids), *conditions).order_by(primary_key)
    for row in connection.execute(wanted):
        grouped[row.trial_id].append(row)
    return grouped


def _freeze(
    trial: Row[Any],
    params: list[Row[Any]],
    values: list[Row[Any]],
    steps: list[Row[Any]],
    user: list[Row[Any]],
    system: list[Row[Any]],
) -> FrozenTrial:
    distributions = {row.param_name: shared_distribution(row.distribution_json) for row in params}
    in_order = sorted(values, key=lambda row: row.objective)
    return FrozenTrial(
        trial_id=trial.trial_id,
        number=trial.number,
        state=TrialState[trial.state],
        value=None,
        values=[_from_stored(row.value, row.value_type) for row in in_order] or None,
        datetime_start=_shown(trial.datetime_start),
        datetime_complete=_shown(trial.datetime_complete),
        params={row.param_name: distributions[row.param_name].to_external_repr(row.param_value) for row in params},
        distributions=distributions,
        user_attrs={row.key: json.loads(row.value_json) for row in user},
        system_attrs={row.key: json.loads(row.value_json) for row in system},
        intermediate_values={
            row.step: _from_stored(row.intermediate_value, row.intermediate_value_type) for row in steps
        },
    )
