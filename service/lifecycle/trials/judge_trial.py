"""What a trial's evaluations make of it: its values, and by how much it misses constraints."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.lifecycle.trials.explain import Point, best_point
from spezia.contract.objectives import DEVICE_SECONDS, measured
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Judgement:
    values: list[float]
    """Of the objectives, in the order of the spec."""
    constraints: dict[str, float]
    """By name, as Optuna has it: 0 or less where it is met."""

    @property
    def is_feasible(self) -> bool:
        return all(excess <= 0 for excess in self.constraints.values())


def judge_trial(spec: StudySpec, curve: Sequence[Point], device_seconds: float) -> Judgement:
    """Judge a trial by the evaluation that its first objective chooses.

    Args:
        curve: Its evaluations, at least one; each tells all that the study wants to know.
        device_seconds: Of all its attempts; 0 while they are not known, the least that they can be.
    """
    best = best_point(spec, curve)
    metrics = best.metrics | {spec.metric: best.value, DEVICE_SECONDS: device_seconds}
    return Judgement(
        values=[_known(one.metric, metrics) for one in spec.objectives],
        constraints={one.name: one.excess(_known(one.metric, metrics)) for one in spec.constraints},
    )


def _known(metric: str, metrics: dict[str, float]) -> float:
    value = measured(metric, metrics)
    assert value is not None
    return value
