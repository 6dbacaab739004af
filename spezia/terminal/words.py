"""Numbers, params and values of trials in words, short enough for a line of a terminal."""

from datetime import UTC, datetime

from spezia.common.plural import plural
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.quote import Quote
from spezia.contract.replay import Comparison
from spezia.contract.study_spec import Params
from spezia.contract.trial import Trial

_SHORT = {
    "learning_rate": "rate",
    "batch_size": "batch",
    "weight_decay": "decay",
    "lr_schedule": "schedule",
    "frozen_layers": "frozen",
    "warmup_ratio": "warmup",
}


def params_words(params: Params) -> str:
    """Return the params of a trial, such as ``rate=2e-05 batch=16``."""
    return " ".join(f"{_SHORT.get(name, name)}={number_words(value)}" for name, value in params.items())


def number_words(value: ParamValue) -> str:
    """Return a value to four digits where it is a float, else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def value_words(trial: Trial) -> str:
    """Return the values of a trial and the constraints that it does not meet; empty where it has no value."""
    if trial.value is None:
        return ""
    values = " ".join(number_words(value) for value in trial.values.values()) or number_words(trial.value)
    return values + (f"  misses {', '.join(trial.violations)}" if trial.violations else "")


def duration_words(seconds: float) -> str:
    """Return a duration in words, such as ``2 h 5 min``; to the second below ten minutes."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    parts = [f"{minutes} min"] if minutes else []
    if minutes < 10 and (seconds or not minutes):
        parts.append(f"{seconds} s")
    return " ".join(parts)


def replay_words(result: Comparison) -> str:
    """Return the result of a replay, and below it a line for each reason."""
    return "\n".join([result.sentence, *(f"  {reason}" for reason in result.reasons)])


def age_words(instant: datetime) -> str:
    """Return how long ago an instant was, in its largest unit, such as ``3 h ago``."""
    seconds = max(0, round((datetime.now(UTC) - instant).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def bytes_words(size: float) -> str:
    """Return a number of bytes in a unit that keeps it short, such as ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def quote_words(quote: Quote) -> str:
    """Return what a study will take, such as ``about 12 min (8 min to 16 min) of device time``."""
    device, wall = (
        f"about {duration_words(one.expected)} ({duration_words(one.low)} to {duration_words(one.high)})"
        for one in (quote.device_seconds, quote.wall_seconds)
    )
    words = f"{device} of device time, {wall} in all with {plural(quote.n_workers, 'worker')}"
    if quote.will_not_fit:
        words += "; what does not fit into memory: " + "; ".join(map(params_words, quote.will_not_fit))
    return words
