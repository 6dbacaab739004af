"""Routes of studies, for people and programs: create, list, show, and read results."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import StreamingResponse

from service.dependencies import PartsDep, StoreDep
from service.errors import Invalid, KeyReused, NoBest, NoModel, StudyExists, StudyNotFound, TooFewTrials
from service.lifecycle.models.find_files import find_model
from service.lifecycle.models.tar_model import tar_model
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.list_studies import list_studies
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.studies.quote import quote_by_earlier
from service.lifecycle.studies.show_importances import Evaluator, show_importances
from service.lifecycle.studies.validate_study import validate_study
from service.lifecycle.studies.warm_start import describe_warm_start
from service.routes import examples
from service.routes.idempotency import IdempotencyDep
from service.routes.parameters import Limit, ObjectiveMetric, PageToken, StudyName
from service.routes.responses import created, link, problems
from service.routes.strict_json import StrictRoute
from service.store.store import Store
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.importances import Importances
from spezia.contract.study import Study, StudyList, StudyOrder, StudyState
from spezia.contract.study_spec import CheckedSpec
from spezia.contract.tasks import Task
from spezia.contract.validation import Validation

router = APIRouter(prefix="/v1/studies", tags=["studies"], route_class=StrictRoute)

_States = Annotated[
    list[StudyState], Query(default_factory=list, max_length=6, description="States to list; when absent, all of them.")
]
_Tasks = Annotated[
    list[Task], Query(default_factory=list, max_length=6, description="Tasks to list; when absent, all of them.")
]
_NamePart = Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9._-]*$", description="Part of the names to list.")]
_Order = Annotated[StudyOrder, Query(description="Order of the list; a minus sign reverses it.")]
_LINKS = {
    "study": link("get_study", name="name"),
    "trials": link("get_trials", name="name"),
    "best": link("get_best", name="name"),
    "change": link("patch_study", name="name"),
    "enqueue": link("post_trial", name="name"),
    "events": link("get_events", name="name"),
    "csv": link("get_trials_csv", name="name"),
    "importances": link("get_importances", name="name"),
    "curves": link("get_curves", name="name"),
    "pause": link("post_pause", name="name"),
    "resume": link("post_resume", name="name"),
    "stop": link("post_stop", name="name"),
    "cancel": link("post_cancel", name="name"),
    "clone": link("post_clone", name="name"),
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
    spec: Annotated[CheckedSpec, examples.body(classification=examples.STUDY)], idempotency: IdempotencyDep
) -> Response:
    """Create a study and start it. The same name and spec again answers 200 with the study as it is."""
    planned = plan_study(spec)

    def act(store: Store) -> tuple[int, Study, str]:
        name, is_new = create_study(store, planned)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return code, show_study(store, name), f"/v1/studies/{name}"

    return idempotency.answer(act, spec)


@router.post(":validate", responses=problems(Invalid))
def post_validate(
    spec: Annotated[CheckedSpec, examples.body(classification=examples.STUDY)], store: StoreDep
) -> Validation:
    """Check a spec without starting it: defaults and preset filled in, what to think about again, what it would take
    where an earlier study tells, and with whose trials it would begin."""
    found = validate_study(spec)
    told = {
        "quote": quote_by_earlier(store, found.spec),
        "warm_start": describe_warm_start(store, found.spec),
    }
    return found.model_copy(update=told)


@router.get("", responses=problems(Invalid))
def get_studies(
    store: StoreDep,
    state: _States,
    task: _Tasks,
    name_contains: _NamePart = "",
    order_by: _Order = "name",
    limit: Limit = 100,
    page_token: PageToken = None,
) -> StudyList:
    """List studies, by name or by age; a minus sign turns the order round: `-created_at` lists the newest first."""
    return list_studies(store, limit, page_token, state, task, name_contains, order_by)


@router.get("/{name}", responses=problems(StudyNotFound))
def get_study(name: StudyName, store: StoreDep) -> Study:
    """Describe one study: its state, counts, best trial so far, progress, facts and spec."""
    return show_study(store, name)


@router.get("/{name}/best", responses=problems(StudyNotFound, NoBest))
def get_best(name: StudyName, parts: PartsDep) -> BestTrial | ParetoFront:
    """Describe the best COMPLETE trial with its evidence and the baseline; of several objectives the Pareto front."""
    return describe_best(parts.store, parts.files, name)


@router.get("/{name}/importances", responses=problems(StudyNotFound, TooFewTrials, Invalid))
def get_importances(
    name: StudyName,
    store: StoreDep,
    evaluator: Annotated[Evaluator, Query(description="Method that computes the importances.")] = "ped-anova",
    objective: ObjectiveMetric = None,
) -> Importances:
    """Say how much each searched parameter has mattered, from the COMPLETE trials.

    `ped-anova` asks which parameters set the best trials apart from the others, `fanova` how much of the variance of
    the value each explains. Both are Optuna's.
    """
    return show_importances(store, name, evaluator, objective)


@router.get(
    "/{name}/best/model",
    response_class=StreamingResponse,
    responses=problems(StudyNotFound, NoModel) | {200: {"content": {"application/x-tar": {}}}},
)
def get_best_model(name: StudyName, parts: PartsDep) -> StreamingResponse:
    """Download the best trial's model, as a tar of a directory that `from_pretrained` opens; of one objective only."""
    found = find_model(parts.store, parts.files, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.tar"'}
    return StreamingResponse(tar_model(parts.files, found, name), media_type="application/x-tar", headers=headers)
