"""PATCH /v1/studies/{name}: other limits, up or down; an ended study goes on when a budget is raised."""

from typing import Any

from service.lifecycle.studies.change_limits import change_limits
from service.lifecycle.studies.reopen import reopen
from service.lifecycle.studies.state_machine import settle
from service.store import studies
from service.store.store import Store
from spezia.contract.study_spec import StudyChange, StudySpec

BUDGETS = ("n_trials", "timeout_seconds", "device_seconds")


def extend(store: Store, name: str, change: StudyChange) -> None:
    """Change the limits of a study. Trials that run keep the time that they were given.

    Raises:
        StudyNotFound: There is none of this name.
        StudyEnded: A budget is raised, but the study cannot go on.
        Invalid: There are more trials already than ``n_trials`` allows.
    """
    given = change.model_dump(exclude_unset=True)
    if change.n_trials is None:
        given.pop("n_trials", None)
    with store.writing() as tx:
        study = studies.lock(tx, name)
        is_raised = any(_is_raised(study.spec, field, given) for field in BUDGETS)
        study = change_limits(tx, study, given)
        settle(tx, reopen(tx, study) if is_raised and study.has_ended else study)


def _is_raised(spec: StudySpec, field: str, given: dict[str, Any]) -> bool:
    before, after = getattr(spec, field), given.get(field)
    return field in given and before is not None and (after is None or after > before)
