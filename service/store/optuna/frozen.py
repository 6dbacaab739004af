"""Rows of Optuna's tables as Optuna's ``FrozenTrial`` and back, by statements that read or write many at once."""

import gc
import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Dialect,
    Enum,
    Integer,
    Select,
    String,
    Table,
    Text,
    TypeDecorator,
    any_,
    bindparam,
    func,
    insert,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from service.store.optuna.tables import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from service.store.sql.statements import Row, Runner, Statement
from spezia.contract.remember import remember

IDS_PER_STATEMENT = 2_000
"""Number of trials that one statement reads."""
ROWS_PER_STATEMENT = 100
"""Number of rows that one statement writes: SQLite may allow no more than 999 bound values."""


class _Numbers(TypeDecorator[Sequence[int]]):
    """Many whole numbers in one parameter: an array, or where there is none, text of JSON."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that a kind of database has for it."""
        return dialect.type_descriptor(ARRAY(Integer()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[int] | None, dialect: Dialect) -> Any:
        """Return the numbers as the driver takes them."""
        numbers = list(value or ())
        return numbers if dialect.name == "postgresql" else json.dumps(numbers)


def _is_one_of(column: Column[int], name: str, database: str) -> ColumnElement[bool]:
    """Compare a column with the numbers of a parameter."""
    numbers = bindparam(name, type_=_Numbers())
    if database == "postgresql":
        return column == any_(numbers)
    return column.in_(select(func.json_each(numbers).table_valued("value").c.value))


def _as_text(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column as the driver reads it: SQLAlchemy's look at each value of an ``Enum`` costs more than a row."""
    return type_coerce(column, String).label(column.name) if isinstance(column.type, Enum) else column


def _contents(table: Table, *columns: str, by_step: bool = False) -> Statement:
    """Return the statement for these columns of the contents of some trials, in the order of writing."""

    def made(database: str) -> Select[Any]:
        wanted = select(*(_as_text(table.c[name]) for name in ("trial_id", *columns)))
        wanted = wanted.where(_is_one_of(table.c.trial_id, "trial_ids", database))
        if by_step:
            wanted = wanted.where(_is_one_of(table.c.step, "steps", database))
        return wanted.order_by(next(iter(table.primary_key.columns)))

    return Statement(made)


_TRIALS = Statement(lambda database: select(trials).where(_is_one_of(trials.c.trial_id, "trial_ids", database)))
_PARAMS = _contents(trial_params, "param_name", "param_value", "distribution_json")
_VALUES = _contents(trial_values, "objective", "value", "value_type")
_USER = _contents(trial_user_attributes, "key", "value_json")
_SYSTEM = _contents(trial_system_attributes, "key", "value_json")
_STEP_COLUMNS = ("step", "intermediate_value", "intermediate_value_type")
_ALL_STEPS = _contents(trial_intermediate_values, *_STEP_COLUMNS)
_SOME_STEPS = _contents(trial_intermediate_values, *_STEP_COLUMNS, by_step=True)


def load_trials(
    runner: Runner, trial_ids: Sequence[int], steps: Collection[int] | None = None
) -> dict[int, FrozenTrial]:
    """Read whole trials, by id: six statements for each 2,000 trials.

    Args:
        steps: Steps whose intermediate values are read; ``None``: all.
    """
    found: dict[int, FrozenTrial] = {}
    with _no_search_for_garbage():
        for start in range(0, len(trial_ids), IDS_PER_STATEMENT):
            found |= _load_some(runner, trial_ids[start : start + IDS_PER_STATEMENT], steps)
    return found


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Let Python not look for garbage meanwhile: among so many new objects, none of them garbage, it looks again and
    again, which takes longer than to read them. Threads that do this at the same time end with the search on."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


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


_SPECIAL = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}


def _load_some(runner: Runner, trial_ids: Sequence[int], only_steps: Collection[int] | None) -> dict[int, FrozenTrial]:
    # states first: who sees a finished trial then sees all of it, also where each statement has its own snapshot
    rows = runner.ask(_TRIALS.rows(trial_ids=trial_ids))
    params, values, user, system = (
        runner.ask(one.then(_by_trial, trial_ids=trial_ids)) for one in (_PARAMS, _VALUES, _USER, _SYSTEM)
    )
    reported = _ALL_STEPS if only_steps is None else _SOME_STEPS
    wanted = {} if only_steps is None else {"steps": list(only_steps)}
    steps = runner.ask(reported.then(_steps_by_trial, trial_ids=trial_ids, **wanted))
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


def _by_trial(rows: list[Row]) -> defaultdict[int, list[Row]]:
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.trial_id].append(row)
    return grouped


def _steps_by_trial(rows: list[Row]) -> defaultdict[int, dict[int, float]]:
    """Return intermediate values by trial and step; most rows of a study are these."""
    grouped: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, step, value, kind in rows:
        grouped[trial_id][step] = value if kind == "FINITE" else _SPECIAL[kind]
    return grouped


def _freeze(
    trial: Row,
    params: list[Row],
    values: list[Row],
    steps: dict[int, float],
    user: list[Row],
    system: list[Row],
) -> FrozenTrial:
    distributions = {row.param_name: shared_distribution(row.distribution_json) for row in params}
    in_order = sorted(values, key=lambda row: row.objective)
    return FrozenTrial(
        trial_id=trial.trial_id,
        number=trial.number,
        state=TrialState[trial.state],
        value=None,
        values=[row.value if row.value_type == "FINITE" else _SPECIAL[row.value_type] for row in in_order] or None,
        datetime_start=_shown(trial.datetime_start),
        datetime_complete=_shown(trial.datetime_complete),
        params={row.param_name: distributions[row.param_name].to_external_repr(row.param_value) for row in params},
        distributions=distributions,
        user_attrs={row.key: json.loads(row.value_json) for row in user},
        system_attrs={row.key: json.loads(row.value_json) for row in system},
        intermediate_values=steps,
    )
