"""Routes by which people act on a study: change its limits, pause, resume, stop, cancel, clone and remove it."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Response, status
from pydantic import ValidationError

from service.dependencies import PartsDep, StoreDep
from service.errors import Invalid, KeyReused, StudyEnded, StudyExists, StudyNotFound
from service.lifecycle.studies.change_limits import change_limits
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.delete_study import delete_study
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.plan_clone import plan_clone
from service.lifecycle.studies.state_machine import cancel, pause, resume, stop
from service.routes import examples
from service.routes.idempotency import IdempotencyDep
from service.routes.parameters import StudyName
from service.routes.responses import created, link, problems
from service.routes.strict_json import BodyInvalid, StrictRoute
from service.store.store import Store
from spezia.contract.advice import StudyClone
from spezia.contract.study import Study
from spezia.contract.study_spec import StudyChange

router = APIRouter(prefix="/v1/studies/{name}", tags=["studies"], route_class=StrictRoute)

_ACTS = problems(StudyNotFound, KeyReused)
_MAY_BE_LATE = problems(StudyNotFound, KeyReused, StudyEnded)


@router.patch("", responses=problems(StudyNotFound, StudyEnded, Invalid))
def patch_study(
    name: StudyName, change: Annotated[StudyChange, examples.body(longer=examples.LIMITS)], store: StoreDep
) -> Study:
    """Change limits, up or down.

    Raising a budget of a `complete` or `cancelled` study lets it go on, if that leaves it more trials to run.
    `n_trials` cannot fall below the number of trials that exist (422). A trial that runs keeps the time that it was
    given. The spec shows the new limits; both it and the spec as it was posted are still answered 200 by
    `POST /v1/studies`.
    """
    change_limits(store, name, change)
    return show_study(store, name)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT, responses=problems(StudyNotFound))
def remove_study(name: StudyName, parts: PartsDep) -> None:
    """Remove a study in any state, with its trials and models; its workers drop what they hold within a heartbeat."""
    delete_study(parts.store, parts.files, name)


@router.post("/pause", status_code=status.HTTP_202_ACCEPTED, response_model=Study, responses=_MAY_BE_LATE)
def post_pause(name: StudyName, idempotency: IdempotencyDep) -> Response:
    """Pause a study: it starts no new trials, and running ones go on."""
    return _after(pause, name, idempotency)


@router.post("/resume", status_code=status.HTTP_202_ACCEPTED, response_model=Study, responses=_MAY_BE_LATE)
def post_resume(name: StudyName, idempotency: IdempotencyDep) -> Response:
    """Resume a paused study, which starts trials again."""
    return _after(resume, name, idempotency)


@router.post("/stop", status_code=status.HTTP_202_ACCEPTED, response_model=Study, responses=_ACTS)
def post_stop(name: StudyName, idempotency: IdempotencyDep) -> Response:
    """Stop a study: it starts no new trials, and ends when the running ones have ended."""
    return _after(stop, name, idempotency)


@router.post("/cancel", status_code=status.HTTP_202_ACCEPTED, response_model=Study, responses=_ACTS)
def post_cancel(name: StudyName, idempotency: IdempotencyDep) -> Response:
    """Cancel a study: it ends now, and its running trials hear of it within one heartbeat."""
    return _after(cancel, name, idempotency)


@router.post(
    "/clone",
    status_code=status.HTTP_201_CREATED,
    response_model=Study,
    responses=problems(StudyNotFound, StudyExists, Invalid, KeyReused)
    | created("The new study, which is running.", study=link("get_study", name="name"))
    | {200: {"description": "The same study, as it is now: it was made before.", "model": Study}},
)
def post_clone(
    name: StudyName,
    clone: Annotated[StudyClone, examples.body(longer=examples.CLONE)],
    parts: PartsDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Create a study with the spec of this one as it was posted, changed as `changes` say, and start it.

    Changes are those of a piece of advice, or any others: a path in the spec and its new value, of which null takes the
    field out. The changed spec is checked as any. The same name and spec again answers 200 with the study as it is.
    """
    try:
        planned = plan_clone(parts.store, name, clone)
    except ValidationError as refused:
        raise BodyInvalid([dict(error) for error in refused.errors(include_url=False)]) from None

    def act(store: Store) -> tuple[int, Study, str]:
        made, is_new = create_study(store, planned)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return code, show_study(store, made), f"/v1/studies/{made}"

    return idempotency.answer(act, clone)


def _after(verb: Callable[[Store, str], None], name: str, idempotency: IdempotencyDep) -> Response:
    def act(store: Store) -> tuple[int, Study, None]:
        verb(store, name)
        return status.HTTP_202_ACCEPTED, show_study(store, name), None

    return idempotency.answer(act)
