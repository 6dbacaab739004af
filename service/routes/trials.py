"""Routes of trials, for people and programs."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import PlainTextResponse

from service.dependencies import PartsDep, StoreDep
from service.errors import (
    Invalid,
    KeyReused,
    NoModel,
    NotPrepared,
    ReplayNotFound,
    StudyEnded,
    StudyNotFound,
    TrialNotFailed,
    TrialNotFound,
    TrialNotReplayable,
)
from service.lifecycle.models.find_files import find_artifact, list_artifacts
from service.lifecycle.trials.cancel_trial import cancel_trial
from service.lifecycle.trials.enqueue_trial import enqueue_trial
from service.lifecycle.trials.list_evaluations import list_evaluations
from service.lifecycle.trials.list_trials import list_trials
from service.lifecycle.trials.replay_trial import replay_trial, show_replay
from service.lifecycle.trials.retry_trial import retry_trial
from service.lifecycle.trials.show_trial import show_trial
from service.lifecycle.trials.trial_log import read_log
from service.routes import examples
from service.routes.file_response import StoredFileResponse
from service.routes.idempotency import IdempotencyDep
from service.routes.parameters import Limit, ModelFile, Number, PageToken, StudyName
from service.routes.responses import created, link, problems
from service.routes.strict_json import StrictRoute
from service.store.store import Store
from spezia.contract.model_files import ArtifactList
from spezia.contract.replay import Replay
from spezia.contract.trial import EnqueuedTrial, EvaluationList, TrialDetail, TrialList, TrialOrder, TrialState

router = APIRouter(prefix="/v1/studies/{name}/trials", tags=["trials"], route_class=StrictRoute)

_States = Annotated[
    list[TrialState], Query(default_factory=list, max_length=5, description="States to list; when absent, all of them.")
]
_After = Annotated[
    int,
    Query(ge=0, lt=2**31, description="Position in the log from which to read: the last `Log-Position`; 0 reads all."),
]
_Order = Annotated[
    TrialOrder,
    Query(
        description="Order of the list: `number`, `state`, `value`, `started_at`, `duration` or `params.NAME`; a minus "
        "sign turns it round."
    ),
]
_LINKS = {
    "trial": link("get_trial", name="study", number="number"),
    "log": link("get_log", name="study", number="number"),
    "cancel": link("post_trial_cancel", name="study", number="number"),
}


@router.get("", responses=problems(StudyNotFound, Invalid))
def get_trials(
    name: StudyName,
    store: StoreDep,
    state: _States,
    order_by: _Order = "number",
    limit: Limit = 100,
    page_token: PageToken = None,
) -> TrialList:
    """List trials with params, value, state and last step.

    By `value` (of the first objective, whatever constraints say) the best comes first, by `-number` the newest, by
    `state` what runs, then COMPLETE, PRUNED, FAIL and WAITING trials; names among the params come in the order of their
    choices. Trials without what is sorted by come last, both ways.
    """
    return list_trials(store, name, limit, page_token, state, order_by)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=TrialDetail,
    responses=problems(StudyNotFound, NotPrepared, StudyEnded, Invalid, KeyReused)
    | created("The trial, which waits.", **_LINKS),
)
def post_trial(
    name: StudyName,
    wanted: Annotated[EnqueuedTrial, examples.body(params=examples.ENQUEUED)],
    parts: PartsDep,
    idempotency: IdempotencyDep,
) -> Response:
    """Try given params next; what they leave out is drawn. `n_trials` grows by one, and an ended study goes on
    for this one trial."""

    def act(store: Store) -> tuple[int, TrialDetail, str]:
        return _made(enqueue_trial(store, parts.proposer, name, wanted.params), status.HTTP_201_CREATED)

    return idempotency.answer(act, wanted)


@router.get("/{number}", responses=problems(StudyNotFound, TrialNotFound))
def get_trial(name: StudyName, number: Number, store: StoreDep) -> TrialDetail:
    """Describe one trial with its evaluations, why it was pruned or failed, and its attempts.

    Of more than 1,000 evaluations 1,000 are shown that are evenly spread, with the first and the last, and the best
    one; `…/evaluations` lists all.
    """
    return show_trial(store, name, number)


@router.get("/{number}/evaluations", responses=problems(StudyNotFound, TrialNotFound, Invalid))
def get_evaluations(
    name: StudyName, number: Number, store: StoreDep, limit: Limit = 100, page_token: PageToken = None
) -> EvaluationList:
    """List every evaluation of a trial's last attempt, in order.

    Later pages go on with the attempt of the first page, even if another one has begun since.
    """
    return list_evaluations(store, name, number, limit, page_token)


@router.post(
    "/{number}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=TrialDetail,
    responses=problems(StudyNotFound, TrialNotFound, KeyReused),
)
def post_trial_cancel(name: StudyName, number: Number, idempotency: IdempotencyDep) -> Response:
    """Cancel one trial: a waiting one ends at once, a running one within a heartbeat; of an ended one its replay, if
    there is one; repeating is harmless."""

    def act(store: Store) -> tuple[int, TrialDetail, None]:
        cancel_trial(store, name, number)
        return status.HTTP_202_ACCEPTED, show_trial(store, name, number), None

    return idempotency.answer(act)


@router.post(
    "/{number}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=TrialDetail,
    responses=problems(StudyNotFound, TrialNotFound, TrialNotFailed, StudyEnded, Invalid, KeyReused)
    | created("The new trial, which waits.", status.HTTP_202_ACCEPTED, **_LINKS),
)
def post_trial_retry(name: StudyName, number: Number, idempotency: IdempotencyDep) -> Response:
    """Run the params of a FAIL trial again, as a new trial: the answer. `n_trials` grows by one.

    An ended study goes on for this one trial; trials that it was stopped or cancelled before stay undone, until
    `n_trials` is raised by PATCH.
    """
    return idempotency.answer(lambda store: _made(retry_trial(store, name, number), status.HTTP_202_ACCEPTED))


@router.post(
    "/{number}/replay",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=Replay,
    responses=problems(StudyNotFound, TrialNotFound, TrialNotReplayable, KeyReused)
    | created(
        "The replay, which waits for a worker.",
        status.HTTP_202_ACCEPTED,
        replay=link("get_replay", name="study", number="number"),
    ),
)
def post_trial_replay(name: StudyName, number: Number, idempotency: IdempotencyDep) -> Response:
    """Run a trial that has ended once more and compare its numbers, in a study that runs or has ended.

    A replay is no trial, changes nothing of the study and counts towards no budget; `replay_seconds` of the study say
    what replays took. While one of the trial waits or runs, that one is meant. To end it early, cancel the trial.
    """

    def act(store: Store) -> tuple[int, Replay, str]:
        asked = replay_trial(store, name, number)
        return status.HTTP_202_ACCEPTED, asked, f"/v1/studies/{name}/trials/{number}/replay"

    return idempotency.answer(act)


@router.get("/{number}/replay", responses=problems(StudyNotFound, TrialNotFound, ReplayNotFound))
def get_replay(name: StudyName, number: Number, store: StoreDep) -> Replay:
    """Describe the last replay of a trial: its state, what it is run again from, and once it has ended its result."""
    return show_replay(store, name, number)


@router.get("/{number}/log", response_class=PlainTextResponse, responses=problems(StudyNotFound, TrialNotFound))
def get_log(name: StudyName, number: Number, store: StoreDep, after: _After = 0) -> PlainTextResponse:
    """Read the log of a trial. To follow it, pass the header `Log-Position` of the last reply as `after`."""
    text, position = read_log(store, name, number, after)
    return PlainTextResponse(text, headers={"Log-Position": str(position)})


@router.get("/{number}/artifacts", responses=problems(TrialNotFound, Invalid))
def get_artifacts(name: StudyName, number: Number, store: StoreDep) -> ArtifactList:
    """List the files of a trial's model; none unless it is among the best that the study keeps."""
    return list_artifacts(store, name, number)


@router.get(
    "/{number}/artifacts/{file:path}",
    response_class=Response,
    responses=problems(TrialNotFound, NoModel, Invalid),
)
def get_artifact(name: StudyName, number: Number, file: ModelFile, parts: PartsDep) -> StoredFileResponse:
    """Download one file of a trial's kept model, or the range of it that the header `Range` names."""
    return StoredFileResponse(parts.files, find_artifact(parts.store, parts.files, name, number, file))


def _made(trial: TrialDetail, code: int) -> tuple[int, TrialDetail, str]:
    return code, trial, f"/v1/studies/{trial.study}/trials/{trial.number}"
