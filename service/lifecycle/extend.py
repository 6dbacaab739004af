"""PATCH /v1/studies/{name}: other limits, up or down; an ended study goes on when a budget is raised."""

from typing import Any

from pydantic import ValidationError

from service.contract.problem import FieldProblem
from service.contract.study import StudyChange, StudySpec
from service.errors import Invalid
from service.lifecycle.reopen import reopen
from service.lifecycle.settle import settle
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction

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
        study = _with_limits(tx, study, given)
        settle(tx, reopen(tx, study) if is_raised and study.has_ended else study)


def add_trial(tx: Transaction, study: StudyRow) -> StudyRow:
    """Make room for one trial more than ``n_trials`` in a locked study.

    Raises:
        StudyEnded: The study cannot go on.
        Invalid: A study cannot hold more.
    """
    return reopen(tx, _with_limits(tx, study, {"n_trials": study.spec.n_trials + 1}))


def _is_raised(spec: StudySpec, field: str, given: dict[str, Any]) -> bool:
    before, after = getattr(spec, field), given.get(field)
    return field in given and before is not None and (after is None or after > before)


def _with_limits(tx: Transaction, study: StudyRow, given: dict[str, Any]) -> StudyRow:
    counts = trials.counts(tx, study)
    n_made = counts.waiting + counts.running + counts.complete + counts.pruned + counts.fail
    if given.get("n_trials", n_made) < n_made:
        message = f"the study has {n_made} trials already; lower it to {n_made} at least, or stop the study"
        raise _invalid("n_trials", message)
    try:
        spec = StudySpec.model_validate(study.spec.model_dump() | given)
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        raise _invalid(".".join(map(str, first["loc"])), first["msg"]) from None
    return study if spec == study.spec else studies.change_spec(tx, study, spec)


def _invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", [FieldProblem(field=field, message=message)])
