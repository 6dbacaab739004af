"""POST /v1/studies: store a checked spec, once."""

import secrets

from service.contract.study import StudySpec
from service.errors import StudyExists, StudyNotFound
from service.lifecycle.check_spec import check_spec
from service.search.lint import lint
from service.store import studies
from service.store.studies import StudyRow
from service.store.transaction import Store, Transaction


def create_study(store: Store, spec: StudySpec) -> tuple[str, bool]:
    """Create and start a study; return its name and whether it is new.

    The same name and spec again is the same study, so a repeated POST is harmless.

    Raises:
        Invalid: As `check_spec` finds.
        StudyExists: The name belongs to a study of another spec; the fields that differ are named.
    """
    spec = check_spec(spec)
    named = spec if spec.name else spec.model_copy(update={"name": _made_up_name()})
    assert named.name is not None
    with store.writing() as tx:
        existing = _find(tx, named.name)
        if existing is None:
            studies.create(tx, named, [str(warning) for warning in lint(named)])
            return named.name, True
    differing = different_fields(existing.spec, named)
    if differing:
        raise StudyExists(
            f"there is a study {named.name!r} with another {', '.join(differing)}; "
            "choose another name, or post the same spec to join it"
        )
    return named.name, False


def different_fields(one: StudySpec, other: StudySpec) -> list[str]:
    """The top-level fields in which two specs differ."""
    return [name for name in StudySpec.model_fields if getattr(one, name) != getattr(other, name)]


def _find(tx: Transaction, name: str) -> StudyRow | None:
    try:
        return studies.find(tx, name)
    except StudyNotFound:
        return None


def _made_up_name() -> str:
    return f"study-{secrets.token_hex(4)}"
