"""Trials as a table of pandas, in the form of Optuna's ``Study.trials_dataframe``."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from spezia.common.extras import MissingExtra
from spezia.common.lazy_module import LazyModule
from spezia.contract.trial import Trial

pandas = LazyModule("pandas")

_TIMES = ("datetime_start", "datetime_complete", "duration")


def trials_dataframe(trials: Sequence[Trial], metrics: Sequence[str]) -> Any:
    """Return a pandas ``DataFrame`` of trials, a row each.

    Args:
        trials: Trials of one study.
        metrics: Metric of each of its objectives, of which they may have no value yet, or none ever.

    Its columns are ``number``, ``value`` (of several objectives ``values_…``), ``datetime_start``,
    ``datetime_complete``, ``duration``, ``params_…``, ``user_attrs_…`` (step, epoch, baseline, failure) and ``state``.

    Raises:
        MissingExtra: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise MissingExtra("trials_dataframe", "pandas", "notebook")
    values = ["value"] if len(metrics) == 1 else [f"values_{metric}" for metric in metrics]
    rows = [_row(trial) for trial in trials]
    params = sorted({name for row in rows for name in row if name.startswith("params_")})
    attributes = ["user_attrs_step", "user_attrs_epoch", "user_attrs_baseline", "user_attrs_failure"]
    frame = pandas.DataFrame(rows, columns=["number", *values, *_TIMES, *params, *attributes, "state"])
    frame[values] = frame[values].astype(float)
    for name in _TIMES[:2]:
        frame[name] = pandas.to_datetime(frame[name], utc=True)
    frame["duration"] = frame["datetime_complete"] - frame["datetime_start"]
    return frame


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "value": trial.value,
        **{f"values_{metric}": value for metric, value in trial.values.items()},
        "datetime_start": trial.started_at,
        "datetime_complete": trial.finished_at,
        **{f"params_{name}": value for name, value in trial.params.items()},
        "user_attrs_step": trial.step,
        "user_attrs_epoch": trial.epoch,
        "user_attrs_baseline": trial.baseline,
        "user_attrs_failure": None if trial.failure is None else trial.failure.failure_class,
        "state": trial.state,
    }
