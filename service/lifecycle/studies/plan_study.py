"""Check a posted spec and make of it the study that it would be, before a transaction is opened."""

import secrets
from dataclasses import dataclass

from service.lifecycle.studies.advise import Adviser
from service.lifecycle.studies.check_spec import check_spec
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class PlannedStudy:
    """A study that can be created as it is."""

    spec: StudySpec
    """Spec of the study with its preset filled in, and with a name."""
    warnings: list[str]
    """What to think about again."""


def plan_study(spec: StudySpec) -> PlannedStudy:
    """Return the study that a spec asks for.

    Raises:
        Invalid: As `check_spec` finds.
    """
    checked = check_spec(spec)
    named = checked if checked.name else checked.model_copy(update={"name": f"study-{secrets.token_hex(4)}"})
    return PlannedStudy(spec=named, warnings=[str(one.finding) for one in Adviser(named).on_spec()])
