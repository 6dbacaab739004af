"""Says in words what is odd about a study's data. Nothing here ends a study."""

from collections import Counter
from typing import Any

from trainer.data.rows import AnyRules, Rows, Splits

_UNBALANCED = 20
"""Least ratio of the rows of the largest class to those of the smallest at which there is a warning."""


def data_warnings(task: AnyRules, splits: Splits[Any, Any]) -> list[str]:
    """Return warnings of empty texts, of training examples that occur again in validation or test, and of unbalanced
    classes."""
    held_out = splits.held_out
    warnings = [_empty(task, name, rows) for name, rows in ({"train": splits.train} | held_out).items()]
    warnings += [_duplicates(task, splits.train, name, rows) for name, rows in held_out.items()]
    return [warning for warning in [*warnings, _unbalanced(task, splits.train)] if warning is not None]


def _empty(task: AnyRules, name: str, rows: Rows[Any, Any]) -> str | None:
    n_empty = sum(map(task.is_empty, rows.inputs))
    if not n_empty:
        return None
    return f"{n_empty} of {len(rows)} {name} {task.noun} are empty; the model can only guess there"


def _duplicates(task: AnyRules, train: Rows[Any, Any], name: str, rows: Rows[Any, Any]) -> str | None:
    known = set(train.inputs)
    n_known = sum(example in known for example in rows.inputs)
    if not n_known:
        return None
    return f"{n_known} of {len(rows)} {name} {task.noun} also occur in train; {name} looks better than it is"


def _unbalanced(task: AnyRules, train: Rows[Any, Any]) -> str | None:
    strata = [stratum for target in train.targets if (stratum := task.stratum(target)) is not None]
    if not strata:
        return None
    ordered = Counter(strata).most_common()
    (largest, n_largest), (smallest, n_smallest) = ordered[0], ordered[-1]
    if n_largest < _UNBALANCED * n_smallest:
        return None
    return (
        f"classes are very unbalanced, {n_largest} training rows of {largest!r} and {n_smallest} of "
        f"{smallest!r}: accuracy can mislead, consider the metric f1_macro"
    )
