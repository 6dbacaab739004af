"""Trials as a table of pandas, in the form of Optuna's ``Study.trials_dataframe``."""

from importlib.util import find_spec
from typing import Any

from spezia.common.extras import MissingExtra
from spezia.common.lazy_module import LazyModule
from spezia.contract.trial import Trial

pandas = LazyModule("pandas")

_FIRST = ("number", "value")
_TIMES = ("datetime_start", "datetime_complete", "duration")


def trials_dataframe(trials: list[Trial]) -> Any:
    """Return a pandas ``DataFrame`` of trials, a row each.

    Its columns are ``number``, ``value`` (of several objectives ``values_…``), ``datetime_start``,
    ``datetime_complete``, ``duration``, ``params_…``, ``user_attrs_…`` (step, epoch, baseline, failure) and ``state``.

    Raises:
        MissingExtra: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise MissingExtra("trials_dataframe", "pandas", "notebook")
    rows = [_row(trial) for trial in trials]
    names = dict.fromkeys(name for row in rows for name in row)
    values = [name for name in names if name.startswith("values_")]
    params = sorted(name for name in names if name.startswith("params_"))
    attributes = ["user_attrs_step", "user_attrs_epoch", "user_attrs_baseline", "user_attrs_failure"]
    columns = [*_FIRST, *_TIMES, *params, *attributes, "state"]
    if values:
        columns[1:2] = values
    frame = pandas.DataFrame(rows, columns=columns)
    for name in _TIMES[:2]:
        frame[name] = pandas.to_datetime(frame[name], utc=True)
    frame["duration"] = frame["datetime_complete"] - frame["datetime_start"]
    return frame


def _row(trial: Trial) -> dict[str, Any]:
    several = trial.values if len(trial.values) > 1 else {}
    return {
        "number": trial.number,
        "value": trial.value,
        **{f"values_{metric}": value for metric, value in several.items()},
        "datetime_start": trial.started_at,
        "datetime_complete": trial.finished_at,
        **{f"params_{name}": value for name, value in trial.params.items()},
        "user_attrs_step": trial.step,
        "user_attrs_epoch": trial.epoch,
        "user_attrs_baseline": trial.baseline,
        "user_attrs_failure": None if trial.failure is None else trial.failure.failure_class,
        "state": trial.state,
    }
