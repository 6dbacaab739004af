"""What needs the facts which the preparation of a study has found out about its data."""

import math
from collections.abc import Iterator

from service.search.finding import Finding, Gain, Remedy
from service.search.pruning.pruners import longest_schedule
from service.search.pruning.rungs import with_rungs_decided
from spezia.contract.facts import Facts
from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import StudySpec

_SMALL_SPLIT = 200


def lint_facts(spec: StudySpec, facts: Facts) -> list[Finding]:
    """Return what the sizes of the data give rise to."""
    return [*_small_validation(spec, facts), *_late_rung(spec, facts)]


def _late_rung(spec: StudySpec, facts: Facts) -> Iterator[Finding]:
    """A first rung that is left to us stands behind warm-up and some optimizer steps; a trial may be too short."""
    decided = with_rungs_decided(spec, facts)
    if not isinstance(spec.pruner, RungsPruner) or not isinstance(decided.pruner, RungsPruner):
        return
    first, last = decided.pruner.options.first, longest_schedule(spec)
    if spec.pruner.options.first is None and first is not None and first >= last:
        yield Finding(
            field="training.evaluations_per_epoch",
            message=f"the first rung would stand at evaluation {first} of {last}, behind warm-up, 8 optimizer steps, "
            "and 5 times what a pause takes: no trial pauses",
            gain=Gain.EFFECT,
            remedies=(Remedy(words="raise it"), Remedy(words="raise epochs"), Remedy(words="use another pruner")),
        )


def _small_validation(spec: StudySpec, facts: Facts) -> list[Finding]:
    """Chance moves the values of a small validation split that nobody has chosen."""
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
