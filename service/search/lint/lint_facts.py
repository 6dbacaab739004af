"""Warnings that need the facts which the preparation of a study has found out about its data."""

import math

from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_SMALL_SPLIT = 200


def lint_facts(spec: StudySpec, facts: Facts) -> list[SpecWarning]:
    """Return the warnings that the sizes of the data give rise to."""
    n_rows = facts.validation_rows
    if spec.data is None or spec.data.validation is not None or not 0 < n_rows < _SMALL_SPLIT:
        return []
    # twice the standard error of a share near a half, the largest it can be
    noise = 100 * math.sqrt(1 / n_rows)
    return [
        SpecWarning(
            field="data.validation",
            message=f"the validation split is {n_rows} rows of a small train: chance alone moves its accuracy by up to "
            f"{noise:.0f} points either way",
            advice="hand in more rows, or a validation file of its own, and take smaller differences for noise",
        )
    ]
