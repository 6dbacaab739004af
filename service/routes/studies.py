"""Studies, for people and programs."""

from typing import Annotated

from fastapi import APIRouter, Body, Response, status
from fastapi.responses import StreamingResponse

from service.contract.preset import Validation
from service.contract.spec import StudySpec
from service.contract.study import BestTrial, ParetoFront, Study, StudyList, StudyState
from service.dependencies import PartsDep, StoreDep
from service.errors import Invalid, KeyReused, NoBest, NoModel, StudyExists, StudyNotFound
from service.lifecycle.best import best
from service.lifecycle.create_study import create_study
from service.lifecycle.find_model import find_model
from service.lifecycle.list_studies import list_studies
from service.lifecycle.show_study import show_study
from service.lifecycle.validate_study import validate_study
from service.routes.model_tar import tar
from service.routes.once import OnceDep
from service.routes.parameters import Limit, PageToken, StudyName
from service.routes.responses import created, link, problems
from service.routes.strict import StrictRoute
from service.store.transaction import Store

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=StrictRoute)

_EXAMPLE = {
    "name": "customer-feedback",
    "task": "text-classification",
    "model": {"name": "sentence-transformers/all-MiniLM-L6-v2"},
    "data": {"train": "examples/feedback/train.csv", "columns": {"text": "text", "label": "label"}},
    "search_space": {
        "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
        "epochs": {"type": "int", "low": 1, "high": 5},
    },
    "pruner": {"name": "median"},
    "n_trials": 20,
}
_LINKS = {
    "study": link("get_study", name="name"),
    "trials": link("get_trials", name="name"),
    "best": link("get_best", name="name"),
    "change": link("patch_study", name="name"),
    "enqueue": link("post_trial", name="name"),
    "remove": link("remove_study", name="name"),
}


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=Study,
    responses=problems(StudyExists, Invalid, KeyReused)
    | created("The study, which is running.", **_LINKS)
    | {200: {"description": "The same study, as it is now: it was posted before.", "model": Study}},
)
def post_study(
    spec: Annotated[StudySpec, Body(openapi_examples={"classification": {"value": _EXAMPLE}})], once: OnceDep
) -> Response:
    """Create a study and start it. The same name and spec again answers 200 with the study as it is."""

    def act(store: Store) -> tuple[int, Study, str]:
        name, is_new = create_study(store, spec)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return code, show_study(store, name), f"/v1/studies/{name}"

    return once.answer(act, spec)


@router.post(":validate", responses=problems(Invalid))
def post_validate(spec: StudySpec) -> Validation:
    """Check a spec without starting it: defaults and preset filled in, and what to think about again."""
    return validate_study(spec)


@router.get("", responses=problems(Invalid))
def get_studies(
    store: StoreDep,
    state: StudyState | None = None,
    limit: Limit = 100,
    page_token: PageToken = None,
) -> StudyList:
    """List studies by name."""
    return list_studies(store, limit, page_token, state)


@router.get("/{name}", responses=problems(StudyNotFound))
def get_study(name: StudyName, store: StoreDep) -> Study:
    """State, counts, best so far, progress, facts and spec of one study."""
    return show_study(store, name)


@router.get("/{name}/best", responses=problems(StudyNotFound, NoBest))
def get_best(name: StudyName, parts: PartsDep) -> BestTrial | ParetoFront:
    """The best COMPLETE trial, beside the baseline, with its evidence; of several objectives the Pareto front."""
    return best(parts.store, parts.artifacts, name)


@router.get(
    "/{name}/best/model",
    response_class=StreamingResponse,
    responses=problems(StudyNotFound, NoModel) | {200: {"content": {"application/x-tar": {}}}},
)
def get_best_model(name: StudyName, parts: PartsDep) -> StreamingResponse:
    """The fine-tuned model, as a tar of a directory that ``from_pretrained`` opens; of several objectives none."""
    directory = find_model(parts.store, parts.artifacts, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.tar"'}
    return StreamingResponse(tar(directory, name), media_type="application/x-tar", headers=headers)
