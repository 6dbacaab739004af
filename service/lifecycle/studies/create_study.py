"""Create a study of a checked spec, once (POST /v1/studies)."""

import logging

from service.errors import Invalid, StudyExists, StudyNotFound
from service.failpoints import failpoint
from service.lifecycle.studies.plan_study import PlannedStudy
from service.lifecycle.studies.warm_start import check_warm_start
from service.store import datasets, pretrained, studies
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.dataset import PREFIX
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import StudySpec

log = logging.getLogger(__name__)


def create_study(store: Store, planned: PlannedStudy) -> tuple[str, bool]:
    """Create and start a study; return its name and whether it is new.

    The same name and spec again is the same study, so a repeated POST is harmless; also when its limits have been
    changed since: both what was posted and what it is now are the same spec.

    Raises:
        Invalid: Nobody has uploaded a data set of the study, its owner has not uploaded the model, or it cannot begin
            with trials of a study that it names.
        StudyExists: The name belongs to somebody else's study, or to one of another spec: the fields that differ
            are named.
    """
    named = planned.spec
    assert named.name is not None
    with store.writing() as tx:
        existing = _find(tx, named.name)
        failpoint("create.looked")
        _check_uploads(tx, named)
        if existing is None:  # else it has begun already, and studies that it names may be gone
            check_warm_start(tx, named)
        created = studies.create(tx, named, planned.warnings) if existing is None else None
        failpoint("create.before_commit")
        # on PostgreSQL somebody may have been first since we looked
        existing = existing or _find(tx, named.name)
        posted = None if existing is None or created is not None else studies.posted_spec(tx, existing)
    failpoint("create.after_commit")
    if created is not None:
        log.info("study created", extra={"study": named.name, "task": named.task, "n_trials": named.n_trials})
        return named.name, True
    if existing is None:
        raise StudyExists(
            f"the name {named.name!r} is taken, by somebody else's study or one that Optuna made; choose another name"
        )
    differing = different_fields(existing.spec, named)
    if differing and named != posted:
        raise StudyExists(
            f"there is a study {named.name!r} with another {', '.join(differing)}; "
            "choose another name, post the same spec to join it, or PATCH its limits"
        )
    return named.name, False


def different_fields(one: StudySpec, other: StudySpec) -> list[str]:
    """Return the names of the top-level fields in which two specs differ."""
    return [name for name in StudySpec.model_fields if getattr(one, name) != getattr(other, name)]


def _check_uploads(tx: Transaction, spec: StudySpec) -> None:
    named = {} if spec.data is None else {field: getattr(spec.data, field) for field in ("train", "validation", "test")}
    uploads = {
        field: name.removeprefix(PREFIX)
        for field, name in named.items()
        if name is not None and name.startswith(PREFIX)
    }
    missing = datasets.missing(tx, uploads.values())
    errors = [
        FieldProblem(field=f"data.{field}", message="nobody has uploaded this data set; POST it to /v1/datasets")
        for field, sha256 in uploads.items()
        if sha256 in missing
    ]
    name = spec.model.name if spec.model else ""
    if name.startswith(PREFIX) and pretrained.find_for_study(tx, name.removeprefix(PREFIX)) is None:
        errors.append(
            FieldProblem(field="model.name", message="you have uploaded no such model; POST it to /v1/models")
        )
    if errors:
        raise Invalid(*errors)


def _find(tx: Transaction, name: str) -> StudyRow | None:
    try:
        return studies.find(tx, name)
    except StudyNotFound:
        return None
