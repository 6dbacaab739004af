"""One method for each call of the REST API that people make; replies are the contract's models."""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import BaseModel, RootModel, ValidationError

from spezia.client.errors import CalledWrongly, ClientError, NoSpezia, NotReady, SpeziaError, Unreachable
from spezia.client.read_events import Read, read_events
from spezia.client.unpack_model import unpack_model
from spezia.common.address_and_key import BadAddress, BadKey, check_address, check_key
from spezia.common.model_tar import tar
from spezia.contract.advice import Change, StudyClone
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.curves import Curves
from spezia.contract.dataset import PREFIX, Dataset
from spezia.contract.event import Happened
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.model_files import UploadedModel, UploadedModelList
from spezia.contract.model_rules import FILE_NAME
from spezia.contract.plot import Figure, PlotKind
from spezia.contract.preset import PresetList
from spezia.contract.preview import Preview, PreviewAwaited
from spezia.contract.problem import Code, Problem
from spezia.contract.replay import Comparison, Replay
from spezia.contract.study import Study, StudyList, StudyState
from spezia.contract.study_spec import Params, StudyChange, StudySpec
from spezia.contract.tasks import Task
from spezia.contract.trial import (
    EnqueuedTrial,
    Evaluation,
    EvaluationList,
    Trial,
    TrialDetail,
    TrialList,
    TrialOrder,
    TrialState,
)
from spezia.contract.validation import Validation
from spezia.contract.workers import Worker, WorkerList

ENDED: tuple[StudyState, ...] = ("complete", "cancelled", "failed")
"""States in which nothing of a study runs any more."""

_TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=30.0, pool=5.0)
_UPLOAD_TIMEOUT = httpx2.Timeout(connect=5.0, read=600.0, write=30.0, pool=5.0)
"""A service that keeps files in a bucket sends all of an upload there before it answers."""
_UNREACHABLE_WAITS = (0.1, 0.4, 1.6)
"""Seconds between tries while nobody answers: perhaps nobody is there."""
_UNAVAILABLE_WAITS = (0.1, 0.4, 1.6, 6.4, 15.0)
"""Seconds between tries while the service, or a proxy before it, cannot answer for the moment."""
_TOO_FREQUENT_WAITS = (1.0, 1.0, 1.0, 1.0)
"""Seconds between tries of what the service refuses as too frequent."""
_RECONNECT_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between tries to take up a stream of events again, as while a service is started anew."""
_MAX_RETRY_SECONDS = 60.0
_UNAVAILABLE = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_PAGE = 1000
_JSON = {"Content-Type": "application/json"}

A = TypeVar("A")
Body = TypeVar("Body", bound=BaseModel)
Page = TypeVar("Page", StudyList, TrialList, EvaluationList, WorkerList, UploadedModelList)


class _Best(RootModel[BestTrial | ParetoFront]):
    """The answer of a study of one objective, or of several."""


class Calls:
    """The calls of a service; several threads may share one instance.

    Reads are repeated for two seconds while nobody answers, and for some 25 while the service says that it cannot
    answer for the moment (502, 503, 504). So are POSTs, whose ``Idempotency-Key`` has them act once; uploads, PATCH
    and DELETE are not. What the service refuses as too frequent is sent again when it says. Every method raises
    `SpeziaError` where the service refuses, and `Unreachable` where nobody answers.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        *,
        is_patient: bool = True,
    ) -> None:
        """Make a client; it connects with its first call.

        Args:
            url: Where the service listens, such as ``http://127.0.0.1:8765``.
            key: API key of the service; absent, that of the environment variable SPEZIA_API_KEY, if any.
            transport: What carries requests instead of the network, in tests.
            sleep: What waits for so many seconds between tries and polls.
            is_patient: Whether to ask again where nobody answers; without, nothing waits for longer than a second.

        Raises:
            CalledWrongly: the address is none of HTTP, or the key holds what no key has.
        """
        key = key or os.environ.get(KEY_VARIABLE)
        try:
            check_address(url)
            if key:
                check_key(key)
        except (BadAddress, BadKey) as bad:
            raise CalledWrongly(str(bad)) from None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(
            base_url=url, transport=transport, timeout=_TIMEOUT if is_patient else 1.0, headers=headers
        )
        self._url = url
        self._sleep = sleep
        self._is_patient = is_patient

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def post_study(self, spec: StudySpec) -> Study:
        """Create a study and start it; the same name and spec again return the study as it is."""
        return self._post(Study, "/v1/studies", spec)

    def validate(self, spec: StudySpec) -> Validation:
        """Check a spec without creating its study; return what the service thinks of it."""
        return self._post(Validation, "/v1/studies:validate", spec)

    def presets(self) -> PresetList:
        """Return the search spaces that the service recommends."""
        return self._get(PresetList, "/v1/presets")

    def get_study(self, name: str) -> Study:
        """Return one study as it is now."""
        return self._get(Study, _study(name))

    def list_studies(self, state: StudyState | None = None) -> Iterator[Study]:
        """Yield all studies, by name, fetching page after page."""
        for page in self._pages(StudyList, "/v1/studies", state=state):
            yield from page.studies

    def list_trials(
        self,
        name: str,
        state: TrialState | None = None,
        order_by: TrialOrder = "number",
    ) -> Iterator[Trial]:
        """Yield all trials of a study, fetching page after page."""
        for page in self._pages(TrialList, f"{_study(name)}/trials", state=state, order_by=order_by):
            yield from page.trials

    def get_trial(self, name: str, number: int) -> TrialDetail:
        """Return one trial with its attempts and evaluations; of more than 1,000 evaluations it has 1,000."""
        return self._get(TrialDetail, f"{_study(name)}/trials/{number}")

    def list_evaluations(self, name: str, number: int) -> Iterator[Evaluation]:
        """Yield all evaluations of a trial's last attempt, fetching page after page."""
        for page in self._pages(EvaluationList, f"{_study(name)}/trials/{number}/evaluations"):
            yield from page.evaluations

    def best(self, name: str) -> BestTrial | ParetoFront:
        """Return the best trial so far, or the Pareto front where a study has several objectives.

        Raises:
            SpeziaError: Of the code ``no-best`` while no trial has a value.
        """
        return self._get(_Best, f"{_study(name)}/best").root

    def curves(
        self,
        name: str,
        metric: str | None = None,
        after: int = 0,
        trials: Sequence[int] | None = None,
        *,
        bands: bool = False,
    ) -> Curves:
        """Return the learning curves of a study as columns.

        Args:
            metric: Metric of the values; ``None``: that of the first objective.
            after: The ``sequence`` of earlier curves; only trials that something has happened to since are listed.
            trials: Numbers of up to 200 trials that are listed; ``None``: all.
            bands: Whether the quantiles over all trials are wanted, too.
        """
        numbers = None if trials is None else ",".join(map(str, trials))
        asked = {"metric": metric, "after": after or None, "trials": numbers, "bands": "true" if bands else None}
        return self._get(Curves, f"{_study(name)}/curves", **asked)

    def plot(self, name: str, kind: PlotKind, objective: str | None = None) -> Figure:
        """Return a plot of a study as a figure of Plotly's: ``plotly.graph_objects.Figure(figure.model_dump())``.

        Args:
            objective: Metric of the objective that is drawn; ``None``: the first one.
        """
        return self._get(Figure, f"{_study(name)}/plots/{kind}", objective=objective)

    def pause(self, name: str) -> Study:
        """Start no new trials of a study until it is resumed."""
        return self._post(Study, f"{_study(name)}/pause")

    def resume(self, name: str) -> Study:
        """Let a paused study go on."""
        return self._post(Study, f"{_study(name)}/resume")

    def stop(self, name: str) -> Study:
        """Complete a study when its running trials have ended; no new ones start."""
        return self._post(Study, f"{_study(name)}/stop")

    def cancel(self, name: str) -> Study:
        """End a study and all its running trials now."""
        return self._post(Study, f"{_study(name)}/cancel")

    def extend(self, name: str, change: StudyChange) -> Study:
        """Change the limits of a study; an ended one goes on when a budget is raised."""
        body = change.model_dump_json(exclude_unset=True)
        send = partial(self._send, "PATCH", _study(name), content=body, headers=_JSON)
        return _read(Study, self._insist(send, is_safe=False))

    def clone(self, name: str, new_name: str | None = None, changes: Sequence[Change] = ()) -> Study:
        """Create a study with the spec of this one as it was posted, with ``changes`` such as those of its advice.

        Args:
            new_name: Name of the new study; ``None``: the service makes one up.
        """
        return self._post(Study, f"{_study(name)}/clone", StudyClone(name=new_name, changes=list(changes)))

    def delete(self, name: str) -> None:
        """Remove a study, its trials and its models."""
        self._insist(partial(self._send, "DELETE", _study(name)), is_safe=False)

    def enqueue(self, name: str, params: Params) -> TrialDetail:
        """Add a trial of given params, which is run next; searched parameters that are left out are drawn."""
        return self._post(TrialDetail, f"{_study(name)}/trials", EnqueuedTrial(params=params))

    def cancel_trial(self, name: str, number: int) -> TrialDetail:
        """End one running trial of a study now."""
        return self._post(TrialDetail, f"{_study(name)}/trials/{number}/cancel")

    def retry_trial(self, name: str, number: int) -> TrialDetail:
        """Run the params of a failed trial again; return the new trial."""
        return self._post(TrialDetail, f"{_study(name)}/trials/{number}/retry")

    def replay(self, name: str, number: int) -> Replay:
        """Have a trial that has ended run again and compared; while a replay of it waits or runs, return that one."""
        return self._post(Replay, f"{_study(name)}/trials/{number}/replay")

    def get_replay(self, name: str, number: int) -> Replay:
        """Return the last replay of a trial as it is now."""
        return self._get(Replay, f"{_study(name)}/trials/{number}/replay")

    def wait_for_replay(self, name: str, number: int, poll_seconds: float = 1.0) -> Comparison:
        """Wait until the last replay of a trial has ended; return its result."""
        while (result := self.get_replay(name, number).result) is None:
            self._sleep(poll_seconds)
        return result

    def log(self, name: str, number: int) -> str:
        """Return what a trial has printed so far."""
        path = f"{_study(name)}/trials/{number}/log"
        return str(self._insist(partial(self._send, "GET", path), is_safe=True).text)

    def follow_log(self, name: str, number: int, poll_seconds: float = 1.0) -> Iterator[str]:
        """Yield what a trial prints, piece by piece, until the trial has ended."""
        path, position = f"{_study(name)}/trials/{number}/log", "0"
        while True:
            has_ended = self.get_trial(name, number).finished_at is not None
            send = partial(self._send, "GET", path, params={"after": position})
            piece = self._insist(send, is_safe=True)
            position = piece.headers["Log-Position"]
            if piece.text:
                yield piece.text
            if has_ended:
                return
            self._sleep(poll_seconds)

    def events(self, after: int | None = None) -> Iterator[Happened]:
        """Yield what happens in all of one's own studies, live and without end.

        Where the connection is lost it is made again, and goes on behind the last event: nothing is missed, and nothing
        comes twice.

        Args:
            after: The ``event_id`` of the last event that was seen; ``None``: what happens from now on.

        Raises:
            Unreachable: Nobody answers, at first for two seconds, later for a minute.
        """
        waits: tuple[float, ...] = _UNREACHABLE_WAITS
        n_failures = 0
        while True:
            lost: ClientError = Unreachable(f"{self._url} ends every stream of events at once; look at its log")
            try:
                for read in self._read_events(after):
                    waits, n_failures, after = _RECONNECT_WAITS, 0, read.event_id
                    if read.happened is not None:
                        yield read.happened
            except ClientError as error:
                if not _waits(error, is_safe=True):
                    raise
                lost = error
            if n_failures == len(waits) or not self._is_patient:
                raise lost
            self._sleep(waits[n_failures])
            n_failures += 1

    def _read_events(self, after: int | None) -> Iterator[Read]:
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        with _connecting(self._url), self._http.stream("GET", "/v1/events", headers=headers) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            try:
                yield from read_events(response.iter_lines())
            except (ValueError, LookupError):
                raise _no_spezia(response) from None

    def trials_csv(self, name: str) -> str:
        """Return all trials of a study as a CSV table, which a spreadsheet takes for no formulas."""
        return str(self._insist(partial(self._send, "GET", f"{_study(name)}/trials.csv"), is_safe=True).text)

    def list_workers(self) -> Iterator[Worker]:
        """Yield the workers that are connected, by id, fetching page after page."""
        for page in self._pages(WorkerList, "/v1/workers"):
            yield from page.workers

    def upload(self, file: Path) -> Dataset:
        """Upload a CSV, JSONL or Parquet file; the reply's ``reference`` is what a study names as its data."""

        def send() -> httpx2.Response:
            with file.open("rb") as content:
                return self._send("POST", "/v1/datasets", content=content, timeout=_UPLOAD_TIMEOUT)

        return _read(Dataset, self._insist(send, is_safe=False))

    def upload_model(self, folder: Path) -> UploadedModel:
        """Upload a pretrained model: weights, config and tokenizer in ``folder``, whose other files stay behind.

        The reply's ``reference`` is what a study names as its model.
        """
        files = {path.name: path for path in sorted(folder.iterdir()) if FILE_NAME.fullmatch(path.name)}

        def send() -> httpx2.Response:
            return self._send("POST", "/v1/models", content=tar(files, "model"), timeout=_UPLOAD_TIMEOUT)

        return _read(UploadedModel, self._insist(send, is_safe=False))

    def list_models(self) -> Iterator[UploadedModel]:
        """Yield the pretrained models that you have uploaded; with the key of an admin, those of everybody."""
        for page in self._pages(UploadedModelList, "/v1/models"):
            yield from page.models

    def delete_model(self, reference: str) -> None:
        """Delete an uploaded model, which no study that goes on fine-tunes; ``reference`` is ``sha256:…``."""
        path = f"/v1/models/{reference.removeprefix(PREFIX)}"
        self._insist(partial(self._send, "DELETE", path), is_safe=False)

    def preview(self, sha256: str, task: Task | None = None, wait_seconds: float = 60.0) -> Preview:
        """Return the columns and the first rows of an uploaded data set, and what it seems to be for.

        Args:
            sha256: Of the upload's reply.
            task: The task whose columns are wanted; ``None``: any.
            wait_seconds: Time to wait for the worker that reads a Parquet file.

        Raises:
            NotReady: No worker is connected, or none has read the file in that time.
        """
        asked = {} if task is None else {"task": task}
        send = partial(self._send, "GET", f"/v1/datasets/{sha256}/preview", params=asked)
        left = wait_seconds
        while True:
            answer = self._insist(send, is_safe=True)
            if answer.status_code != HTTPStatus.ACCEPTED:
                return _read(Preview, answer)
            awaited = _read(PreviewAwaited, answer)
            if not awaited.n_workers or left <= 0:
                raise NotReady(f"there is no preview of {PREFIX}{sha256} yet: {awaited.detail}")
            pause = float(answer.headers["Retry-After"])
            self._sleep(pause)
            left -= pause

    def download_model(self, name: str, target: Path) -> Path:
        """Write the best trial's model to the file ``target``: a tar of a folder that ``from_pretrained`` opens."""
        part = target.with_name(f"{target.name}.part")

        def fetch() -> None:
            with _connecting(self._url), self._http.stream("GET", f"{_study(name)}/best/model") as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                with part.open("wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)

        self._insist(fetch, is_safe=True)
        part.replace(target)
        return target

    def best_model(self, name: str, folder: Path) -> Path:
        """Write the best trial's model to a new folder, which ``from_pretrained`` opens; return the folder.

        Raises:
            FileExistsError: The folder is there already.
            BadModel: What the service sends is no model.
        """
        if folder.exists():
            raise FileExistsError(errno.EEXIST, "is there already; give another folder, or remove it", str(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            archive = self.download_model(name, Path(scratch) / "model.tar")
            unpacked = unpack_model(archive, Path(scratch) / "model")
            unpacked.rename(folder)
        return folder

    def wait(self, name: str, poll_seconds: float = 1.0, on_poll: Callable[[Study], None] | None = None) -> Study:
        """Wait until nothing of a study runs any more; return it as it ended.

        Args:
            on_poll: What is called with the study as it is at each poll.
        """
        while True:
            study = self.get_study(name)
            if on_poll:
                on_poll(study)
            if study.state in ENDED:
                return study
            self._sleep(poll_seconds)

    def _get(self, model: type[Body], path: str, **query: str | int | None) -> Body:
        given = {key: value for key, value in query.items() if value is not None}
        return _read(model, self._insist(partial(self._send, "GET", path, params=given), is_safe=True))

    def _pages(self, model: type[Page], path: str, **query: str | int | None) -> Iterator[Page]:
        """Yield a list page after page."""
        token: str | None = None
        while True:
            page = self._get(model, path, page_token=token, limit=_PAGE, **query)
            yield page
            token = page.next_page_token
            if token is None:
                return

    def _post(self, model: type[Body], path: str, body: BaseModel | None = None) -> Body:
        headers = {"Idempotency-Key": str(uuid4())} | ({} if body is None else _JSON)
        content = None if body is None else body.model_dump_json()
        send = partial(self._send, "POST", path, content=content, headers=headers)
        return _read(model, self._insist(send, is_safe=True))

    def _insist(self, send: Callable[[], A], *, is_safe: bool) -> A:
        """Call ``send`` until it is answered, or has been tried often enough.

        Args:
            is_safe: Whether sending again does no harm where the service has perhaps acted already.
        """
        n_waits: Counter[tuple[float, ...]] = Counter()
        while True:
            try:
                return send()
            except ClientError as error:
                waits = _waits(error, is_safe=is_safe)
                if n_waits[waits] == len(waits) or not self._is_patient:
                    raise
                said = error.retry_seconds if isinstance(error, SpeziaError) else None
                self._sleep(max(waits[n_waits[waits]], min(said or 0.0, _MAX_RETRY_SECONDS)))
                n_waits[waits] += 1

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with _connecting(self._url):
            response = self._http.request(method, path, **options)
        if response.is_error:
            raise _refusal(response)
        return response


def _waits(error: ClientError, *, is_safe: bool) -> tuple[float, ...]:
    """Seconds to wait before each further try after an error; none where trying again is no use, or not safe."""
    if isinstance(error, SpeziaError) and error.problem.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _TOO_FREQUENT_WAITS
    if not is_safe or isinstance(error, NoSpezia):
        return ()
    if isinstance(error, SpeziaError):
        return _UNAVAILABLE_WAITS if error.problem.status in _UNAVAILABLE else ()
    return _UNREACHABLE_WAITS


@contextmanager
def _connecting(url: str) -> Iterator[None]:
    try:
        yield
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"no service answers at {url} ({reason}); start one: spezia serve") from error


def _study(name: str) -> str:
    return f"/v1/studies/{quote(name, safe='')}"


def _read(model: type[Body], response: httpx2.Response) -> Body:
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise _no_spezia(response) from None


def _no_spezia(response: httpx2.Response) -> NoSpezia:
    return NoSpezia(
        f"what answers at {response.url.copy_with(path='/', query=None)} is no Spezia, or one of another version; "
        "check the address, and that client and service have the same version"
    )


def _refusal(response: httpx2.Response) -> SpeziaError:
    said = response.headers.get("Retry-After", "")
    return SpeziaError(_problem(response), float(said) if said.isdigit() else None)


def _problem(response: httpx2.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        # a proxy's page, or something that is no Spezia
        return Problem(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            detail=f"{response.status_code} {response.reason_phrase}: {response.text[:500]}",
            code=Code.UNAVAILABLE if response.status_code in _UNAVAILABLE else Code.INTERNAL,
        )
