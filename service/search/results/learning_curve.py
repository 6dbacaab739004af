"""The learning curve of a trial: its evaluations in order, and which of them is the best.

An evaluation that has read a part of the validation rows is no point of it: values of other rows cannot be compared.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spezia.contract.objectives import GAP, measured
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation of a trial."""

    step: int
    epoch: float
    value: float
    """Value of the study's first objective."""
    metrics: dict[str, float]
    """All metrics of the evaluation: ``validation_loss`` and ``train_loss`` among them, unless it is one of a script
    that reports neither.
    """


def points(rows: Iterable[Any]) -> list[Point]:
    """Return the learning curve that these rows of `measurement`, or reports, tell."""
    return [
        Point(step=row.step, epoch=row.epoch, value=row.value, metrics=row.metrics) for row in rows if not row.partial
    ]


def best_point(spec: StudySpec, curve: Sequence[Point]) -> Point:
    """Return the best evaluation by the first objective; the first of equals."""
    sign = 1 if spec.direction == "minimize" else -1
    return min(curve, key=lambda point: sign * point.value)


def best_step(spec: StudySpec, values: Mapping[int, float]) -> int:
    """Return the step at which values of a trial, at least one, are best: the first of equals, and NaN if all are."""
    choose = min if spec.direction == "minimize" else max
    best = choose(values.values())
    if math.isnan(best):  # which hides all that follow it
        best = choose((value for value in values.values() if not math.isnan(value)), default=best)
    return min((step for step, value in values.items() if value == best), default=min(values))


def generalization_gap(metrics: dict[str, float]) -> float | None:
    """Return validation loss minus training loss, in nats; ``None`` where one of them was not reported."""
    return measured(GAP, metrics)
