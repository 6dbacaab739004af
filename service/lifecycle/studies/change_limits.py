"""Other limits of a study."""

from typing import Any

from pydantic import ValidationError

from service.errors import Invalid
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import StudySpec


def change_limits(tx: Transaction, study: StudyRow, given: dict[str, Any]) -> StudyRow:
    """Check and store the limits ``given`` in a locked study.

    Raises:
        Invalid: There are more trials already than ``n_trials`` allows, or the spec no longer holds together.
    """
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
