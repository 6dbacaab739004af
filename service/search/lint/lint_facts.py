"""What needs the facts which the preparation of a study has found out about its data."""

import math

from service.search.finding import Finding, Gain, Remedy
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec

_SMALL_SPLIT = 200


def lint_facts(spec: StudySpec, facts: Facts) -> list[Finding]:
    """Return what the sizes of the data give rise to."""
    n_rows = facts.validation_rows
    if spec.data is None or spec.data.validation is not None or not 0 < n_rows < _SMALL_SPLIT:
        return []
    # twice the standard error of a share near a half, the largest it can be
    noise = 100 * math.sqrt(1 / n_rows)
    return [
        Finding(
            field="data.validation",
            message=f"the validation split is {n_rows} rows of a small train: chance alone moves its accuracy by up to "
            f"{noise:.0f} points either way",
            gain=Gain.CLARITY,
            remedies=(
                Remedy(words="hand in more rows"),
                Remedy(words="hand in a validation file of its own"),
                Remedy(words="take smaller differences for noise"),
            ),
        )
    ]
