"""The Python client: one method for each call of the REST API that people make; replies are the contract's models.

ClientError
├── SpeziaError     the service answered with a problem
└── Unreachable     nobody answered
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, RootModel, ValidationError

from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.dataset import Dataset
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.preset import PresetList
from spezia.contract.problem import Code, Problem
from spezia.contract.study import Study, StudyList, StudyState
from spezia.contract.study_spec import Params, StudyChange, StudySpec
from spezia.contract.trial import EnqueuedTrial, Trial, TrialDetail, TrialList, TrialOrder, TrialState
from spezia.contract.validation import Validation

ENDED: tuple[StudyState, ...] = ("complete", "cancelled", "failed")
"""States in which nothing of a study runs any more."""

_TIMEOUT = httpx2.Timeout(connect=5.0, read=30.0, write=30.0, pool=5.0)
_RETRY_SECONDS = (0.1, 0.4, 1.6)
_MAX_TRIES = 5
"""How often a request is sent that the service refuses as too frequent."""
_MAX_RETRY_SECONDS = 60.0
_PAGE = 1000
_JSON = {"Content-Type": "application/json"}

Body = TypeVar("Body", bound=BaseModel)


class _Best(RootModel[BestTrial | ParetoFront]):
    """The answer of a study of one objective, or of several."""


class ClientError(Exception):
    """Base of the errors that a client raises."""


class Unreachable(ClientError):
    """Nobody answers at the address of the service."""


class SpeziaError(ClientError):
    """The service refuses a request; ``problem`` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        fields = [f"  {error.field}: {error.message}" for error in problem.errors or []]
        super().__init__("\n".join([problem.detail, *fields]))
        self.problem = problem


class Client:
    """A service, as Python calls it; several threads may share one client.

    Reads are repeated when the connection fails, writes are not. What the service refuses as too frequent is sent again
    when it says. Every method raises `SpeziaError` where the service refuses, and `Unreachable` where nobody answers.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a client; it connects with its first call.

        Args:
            url: Where the service listens, such as ``http://127.0.0.1:8765``.
            api_key: Key of the service; absent, that of the environment variable SPEZIA_API_KEY, if any.
            transport: What carries requests instead of the network, in tests.
            sleep: What waits for so many seconds between tries and polls.
        """
        key = api_key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(base_url=url, transport=transport, timeout=_TIMEOUT, headers=headers)
        self._url = url
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def create_study(self, spec: StudySpec) -> Study:
        """Create a study and start it; the same name and spec again return the study as it is."""
        return self._post_spec(Study, "/v1/studies", spec)

    def validate(self, spec: StudySpec) -> Validation:
        """Check a spec without creating its study; return what the service thinks of it."""
        return self._post_spec(Validation, "/v1/studies:validate", spec)

    def presets(self) -> PresetList:
        """Return the search spaces that the service recommends."""
        return self._get(PresetList, "/v1/presets")

    def get_study(self, name: str) -> Study:
        """Return one study as it is now."""
        return self._get(Study, _study(name))

    def list_studies(self, state: StudyState | None = None) -> Iterator[Study]:
        """Yield all studies, by name, fetching page after page."""
        token: str | None = None
        while True:
            page = self._get(StudyList, "/v1/studies", state=state, page_token=token, limit=_PAGE)
            yield from page.studies
            token = page.next_page_token
            if token is None:
                return

    def list_trials(
        self,
        name: str,
        state: TrialState | None = None,
        order_by: TrialOrder = "number",
    ) -> Iterator[Trial]:
        """Yield all trials of a study, fetching page after page."""
        token: str | None = None
        while True:
            page = self._get(
                TrialList,
                f"{_study(name)}/trials",
                state=state,
                order_by=order_by,
                page_token=token,
                limit=_PAGE,
            )
            yield from page.trials
            token = page.next_page_token
            if token is None:
                return

    def get_trial(self, name: str, number: int) -> TrialDetail:
        """Return one trial with all its evaluations and attempts."""
        return self._get(TrialDetail, f"{_study(name)}/trials/{number}")

    def best(self, name: str) -> BestTrial | ParetoFront:
        """Return the best trial so far, or the Pareto front where a study has several objectives.

        Raises:
            SpeziaError: Of the code ``no-best`` while no trial has a value.
        """
        return self._get(_Best, f"{_study(name)}/best").root

    def pause(self, name: str) -> Study:
        """Start no new trials of a study until it is resumed."""
        return self._act(name, "pause")

    def resume(self, name: str) -> Study:
        """Let a paused study go on."""
        return self._act(name, "resume")

    def stop(self, name: str) -> Study:
        """Complete a study when its running trials have ended; no new ones start."""
        return self._act(name, "stop")

    def cancel(self, name: str) -> Study:
        """End a study and all its running trials now."""
        return self._act(name, "cancel")

    def extend(self, name: str, change: StudyChange) -> Study:
        """Change the limits of a study; an ended one goes on when a budget is raised."""
        body = change.model_dump_json(exclude_unset=True)
        return _read(Study, self._send("PATCH", _study(name), content=body, headers=_JSON))

    def delete(self, name: str) -> None:
        """Remove a study, its trials and its models."""
        self._send("DELETE", _study(name))

    def enqueue(self, name: str, params: Params) -> TrialDetail:
        """Add a trial of given params, which is run next; searched parameters that are left out are drawn."""
        body = EnqueuedTrial(params=params).model_dump_json()
        return _read(TrialDetail, self._send("POST", f"{_study(name)}/trials", content=body, headers=_JSON))

    def cancel_trial(self, name: str, number: int) -> TrialDetail:
        """End one running trial of a study now."""
        return _read(TrialDetail, self._send("POST", f"{_study(name)}/trials/{number}/cancel"))

    def retry_trial(self, name: str, number: int) -> TrialDetail:
        """Run the params of a failed trial again; return the new trial."""
        return _read(TrialDetail, self._send("POST", f"{_study(name)}/trials/{number}/retry"))

    def log(self, name: str, number: int) -> str:
        """Return what a trial has printed so far."""
        return str(self._send("GET", f"{_study(name)}/trials/{number}/log").text)

    def upload(self, file: Path) -> Dataset:
        """Upload a CSV, JSONL or Parquet file; the reply's ``reference`` is what a study names as its data."""
        with file.open("rb") as content:
            return _read(Dataset, self._send("POST", "/v1/datasets", content=content))

    def download_model(self, name: str, target: Path) -> Path:
        """Write the best trial's model to the file ``target``: a tar of a folder that ``from_pretrained`` opens."""
        partial = target.with_name(f"{target.name}.part")
        with _connecting(self._url), self._http.stream("GET", f"{_study(name)}/best/model") as response:
            if response.is_error:
                response.read()
                raise SpeziaError(_problem(response))
            with partial.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
        partial.replace(target)
        return target

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

    def _post_spec(self, model: type[Body], path: str, spec: StudySpec) -> Body:
        return _read(model, self._send("POST", path, content=spec.model_dump_json(), headers=_JSON))

    def _act(self, name: str, verb: str) -> Study:
        return _read(Study, self._send("POST", f"{_study(name)}/{verb}"))

    def _get(self, model: type[Body], path: str, **query: str | int | None) -> Body:
        given = {key: value for key, value in query.items() if value is not None}
        for seconds in _RETRY_SECONDS:
            try:
                return _read(model, self._send("GET", path, params=given))
            except Unreachable:
                self._sleep(seconds)
        return _read(model, self._send("GET", path, params=given))

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        for _ in range(_MAX_TRIES):
            with _connecting(self._url):
                response = self._http.request(method, path, **options)
            if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            self._sleep(_retry_seconds(response))
            if isinstance(file := options.get("content"), BufferedReader):
                file.seek(0)
        if response.is_error:
            raise SpeziaError(_problem(response))
        return response


def _retry_seconds(response: httpx2.Response) -> float:
    said = response.headers.get("Retry-After", "")
    return min(float(said), _MAX_RETRY_SECONDS) if said.isdigit() else 1.0


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
    return model.model_validate_json(response.content)


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
            code=Code.UNAVAILABLE if response.status_code in (502, 503, 504) else Code.INTERNAL,
        )
