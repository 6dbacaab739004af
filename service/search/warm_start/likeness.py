"""How alike two studies are, so that the best trials of one may be tried first in the other.

Distances add up: 1 for another model, and, in each of training rows, classes and length in tokens, 1 for a factor of
ten. Where a linear probe is known for both, the difference of its skills counts too, 1 for the whole way from guessing
to perfection. The likeness halves with each 1. The formula is ours, and not fitted: see
docs/decisions/0031-begin-where-similar-tasks-ended.md.
"""

import math

from service.search.space.allowed import choices_of
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec


def is_comparable(spec: StudySpec, other: StudySpec) -> bool:
    """Return whether trials of another study can be tried in this one, if their params lie in its search space.

    Both have one objective, the same one, and the same task; some method and some searched parameter is in both.
    """
    return (
        len(other.objectives) == 1
        and (spec.task, spec.metric, spec.direction) == (other.task, other.metric, other.direction)
        and not choices_of(spec, "method").isdisjoint(choices_of(other, "method"))
        and not spec.search_space.keys().isdisjoint(other.search_space)
    )


def likeness(facts: Facts, other: Facts, skill: float | None) -> float:
    """Return how alike the tasks and models of two studies are, from 0 to 1.

    Args:
        skill: Of the first study, as `skill_of` its facts, or what is known of it in another way.
    """
    distance = (
        float(facts.model_sha256 != other.model_sha256)
        + _decades(facts.train_rows, other.train_rows)
        + _decades(len(facts.classes), len(other.classes))
        + _decades(facts.max_tokens, other.max_tokens)
    )
    other_skill = skill_of(other)
    if skill is not None and other_skill is not None:
        distance += abs(skill - other_skill)
    return float(2.0**-distance)


def skill_of(facts: Facts) -> float | None:
    """Return the share of the way from guessing to perfection that a linear probe covers; ``None``: it is not known."""
    return None if facts.similarity is None else facts.similarity.metrics.get("skill")


def is_same_task(facts: Facts, other: Facts) -> bool:
    """Return whether two studies have the same model and data, so that a probe finds the same in both."""
    return (facts.model_sha256, facts.data_sha256) == (other.model_sha256, other.data_sha256)


def _decades(one: int, other: int) -> float:
    """Factors of ten between two counts; 0 counts as 1, so that a task without classes is like one of a class."""
    return abs(math.log10(max(1, one) / max(1, other)))
