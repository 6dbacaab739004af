"""The limits of a study, changed after it was created: by people, or to make room for one more trial."""

from typing import Any

from service.errors import Invalid
from service.lifecycle.confirmation.conclude import lacks_runs
from service.lifecycle.studies.state_machine import reopen, resume_confirmation, settle
from service.store import studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.common.plural import plural
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import MAX_TRIALS, StudyChange, StudySpec, limit_errors

BUDGETS = ("n_trials", "timeout_seconds", "device_seconds")
"""Limits that reopen an ended study when they are raised."""


def change_limits(store: Store, name: str, change: StudyChange) -> None:
    """Change the limits of a study, up or down; trials that run keep the time that they were given.

    An ended study goes on when a budget is raised, if the limits leave it more trials to run, or runs that its
    confirmation lacks.

    Raises:
        StudyNotFound: There is no study of this name.
        StudyEnded: A budget is raised, but the study, or its confirmation, cannot go on.
        Invalid: There are more trials already than ``n_trials`` allows.
    """
    given = change.model_dump(exclude_unset=True)
    if change.n_trials is None:
        given.pop("n_trials", None)
    with store.writing() as tx:
        study = studies.lock(tx, name)
        is_raised = any(_is_raised(study.spec, field, given) for field in BUDGETS)
        study = _store_limits(tx, study, given)
        if is_raised and study.has_ended:
            study = _go_on(tx, study)
        settle(tx, study)


def allow_one_more_trial(tx: Transaction, study: StudyRow) -> StudyRow:
    """Raise ``n_trials`` of a locked study by one, and let a study that has ended go on for that one trial.

    Trials that it was stopped or cancelled before are not made up for: ``n_trials`` becomes one more than there are.

    Raises:
        StudyEnded: The study cannot go on.
        Invalid: A study cannot hold more trials.
    """
    before = trials.counts(tx, study).n_total if study.has_ended else study.spec.n_trials
    if before >= MAX_TRIALS:
        message = f"a study holds {MAX_TRIALS} trials at most; post a new study"
        raise Invalid(FieldProblem(field="n_trials", message=message))
    return reopen(tx, _store_limits(tx, study, {"n_trials": before + 1}))


def _go_on(tx: Transaction, study: StudyRow) -> StudyRow:
    """Let an ended study do what its limits, one of which was raised, leave it to do."""
    if trials.counts(tx, study).n_total < study.spec.n_trials:
        return reopen(tx, study)
    return resume_confirmation(tx, study) if study.state == "complete" and lacks_runs(tx, study) else study


def _is_raised(spec: StudySpec, field: str, given: dict[str, Any]) -> bool:
    before, after = getattr(spec, field), given.get(field)
    return field in given and before is not None and (after is None or after > before)


def _store_limits(tx: Transaction, study: StudyRow, given: dict[str, Any]) -> StudyRow:
    n_trials = trials.counts(tx, study).n_total
    if given.get("n_trials", n_trials) < n_trials:
        message = f"the study has {plural(n_trials, 'trial')} already; give {n_trials} or more, or stop the study"
        raise Invalid(FieldProblem(field="n_trials", message=message))
    spec = study.spec.model_copy(update=given)
    if errors := limit_errors(spec):
        raise Invalid(*(FieldProblem(field=".".join(map(str, path)), message=message) for path, message, _ in errors))
    return study if spec == study.spec else studies.change_spec(tx, study, spec)
