"""What a trial's learning curve makes of it: its values, and by how much it misses constraints."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.search.results.learning_curve import Point
from spezia.contract.objectives import DEVICE_SECONDS, measured
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a COMPLETE trial has reached."""

    values: list[float]
    """Values of the objectives, in the order of the spec."""
    constraints: dict[str, float]
    """Excess over each constraint by its name: 0 or less where the constraint is met, as Optuna has it."""

    @property
    def is_feasible(self) -> bool:
        """Whether the trial meets all constraints."""
        return all(excess <= 0 for excess in self.constraints.values())


def judge_trial(spec: StudySpec, best: Point, device_seconds: float) -> Judgement:
    """Judge a trial by the best of its evaluations.

    Args:
        best: The evaluation that the first objective chooses; it has all metrics that the study needs.
        device_seconds: What all attempts of the trial have cost; 0 while that is not known, the least that it can be.
    """
    metrics = best.metrics | {spec.metric: best.value, DEVICE_SECONDS: device_seconds}
    return Judgement(
        values=[_known(one.metric, metrics) for one in spec.objectives],
        constraints={one.name: one.excess(_known(one.metric, metrics)) for one in spec.constraints},
    )


def values_when_pruned(spec: StudySpec, intermediate_values: Mapping[int, float]) -> list[float] | None:
    """Values of a trial that was ended early: as in Optuna its last one, or none if there are several objectives, or if
    it has never read all validation rows."""
    if len(spec.objectives) > 1 or not intermediate_values:
        return None
    return [intermediate_values[max(intermediate_values)]]


def _known(metric: str, metrics: dict[str, float]) -> float:
    value = measured(metric, metrics)
    assert value is not None
    return value
