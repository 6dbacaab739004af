"""Make the spec of a new study from that of another one (POST /v1/studies/{name}/clone)."""

from service.errors import Invalid
from service.lifecycle.studies.plan_study import PlannedStudy, plan_study
from service.store import studies
from service.store.store import Store
from spezia.contract.advice import NoSuchField, StudyClone, with_changes
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import POSTED, StudySpec


def plan_clone(store: Store, name: str, clone: StudyClone) -> PlannedStudy:
    """Return the study that has the spec of this one as it was posted, with changes and a name of its own.

    Raises:
        StudyNotFound: There is no study of this name.
        ValidationError: The contract refuses the changed spec.
        Invalid: A change names a field that cannot be there, or the changed spec is refused as `plan_study` does.
    """
    with store.reading() as tx:
        posted = studies.posted_spec(tx, studies.find(tx, name))
    try:
        changed = with_changes(posted, clone.changes)
    except NoSuchField as none:
        message = f"the spec has no place for {none}; name a field of it, such as search_space.learning_rate.high"
        raise Invalid(FieldProblem(field="changes", message=message)) from None
    return plan_study(StudySpec.model_validate(changed.model_dump() | {"name": clone.name}, context=POSTED))
