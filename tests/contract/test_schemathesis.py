"""Schemathesis over the whole API in process: what its description allows or forbids is answered as it says.

All phases (examples, coverage, fuzzing, stateful) with all checks, with a key: `ignored_auth` sees to it that each
call refuses to go without, and with a wrong one. Left out is the stream of events, which does not
end: `tests/service/stories/test_events.py` reads it.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import strategies
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from starlette.types import Receive, Scope, Send

from service.app import create_app
from service.lifecycle.keys.create_key import create_key
from service.routes.wait_for_work import wait_for_work
from service.settings import Settings
from spezia.contract import key as keys

# of a body in this form it has nothing to send by itself
schemathesis.openapi.media_type("application/x-tar", strategies.binary())

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_EXAMPLES = 25
_ACCEPTED = ["2xx", "401", "403", "404", "409", "429"]
RULES_BEYOND_JSON_SCHEMA = {
    "POST /v1/studies": "low above high, unknown hyperparameters",
    "POST /v1/studies:validate": "the same",
    "POST /v1/studies/{name}/clone": "changes that the spec has no place for, or that it is none with",
    "POST /v1/studies/{name}/trials": "params outside the search space",
    "GET /v1/studies/{name}/importances": "an objective that the study has not",
    "GET /v1/studies/{name}/plots/{kind}": "an objective that the study has not",
    "POST /v1/webhooks": "a private address, the name of a study that is not there",
    "POST /v1/datasets": "what a CSV, JSONL or Parquet file is",
    "POST /v1/models": "what a tar of a model is",
    "POST /v1/workers": "an old protocol",
}
"""Calls that may refuse with 422 (or 426) what the description allows, and why, besides those of `calls_with`."""
NOT_THERE_AT_ONCE = ("best", "best/model")
"""What a study that was just created has not, yet."""


class Transport:
    """Schemathesis calls its host `testserver`, which we refuse, and sends one Idempotency-Key with everything."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self.key = key
        self.description = app.openapi()
        self._app = app
        self._counter = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"]) | {b"host": b"127.0.0.1"}
            if key := headers.get(b"idempotency-key"):
                headers[b"idempotency-key"] = b"%d-%s" % (next(self._counter), key)
            scope = dict(scope) | {"headers": list(headers.items())}
        await self._app(scope, receive, send)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    app = create_app(Settings(home=tmp_path, n_workers=0, requests_per_minute=10**6, worker_requests_per_minute=10**6))
    api = Transport(app, create_key(app.state.parts.store, "schemathesis", [keys.Scope.ADMIN]))
    # a dispatch that finds nothing does not wait
    at_once = partial(wait_for_work, timer=itertools.count(step=100).__next__)
    monkeypatch.setattr("service.routes.workers.wait_for_work", at_once)
    yield api
    app.state.parts.proposer.close()
    app.state.parts.store.close()


def calls_with(description: dict[str, Any]) -> set[str]:
    """Calls that may refuse with 422 a page_token that no page gave, or whole numbers written 3.0."""

    def has_integers(schema: Any, seen: tuple[str, ...] = ()) -> bool:
        if isinstance(schema, list):
            return any(has_integers(one, seen) for one in schema)
        if not isinstance(schema, dict):
            return False
        if (name := schema.get("$ref", "").rpartition("/")[2]) and name not in seen:
            return has_integers(description["components"]["schemas"][name], (*seen, name))
        return schema.get("type") == "integer" or any(has_integers(one, seen) for one in schema.values())

    return {
        f"{method.upper()} {path}"
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
        if any(parameter["name"] == "page_token" for parameter in operation.get("parameters", []))
        or has_integers(operation.get("requestBody", {}).get("content", {}).get("application/json"))
    }


def configuration(key: str, description: dict[str, Any]) -> SchemathesisConfig:
    lenient = {"positive_data_acceptance": {"expected-statuses": [*_ACCEPTED, "422", "426"]}}
    operations: list[dict[str, Any]] = [
        {"include-name": name, "checks": dict(lenient)}
        for name in sorted({*RULES_BEYOND_JSON_SCHEMA, *calls_with(description)})
    ]
    for operation in operations:
        if operation["include-name"] == "POST /v1/datasets":
            # its body is bytes, and so is whatever violates that: an object arrives as one row of JSONL
            operation["checks"]["negative_data_rejection"] = {"enabled": False}
    operations += [
        {
            "include-name": f"GET /v1/studies/{{name}}/{name}",
            "checks": {"ensure_resource_availability": {"enabled": False}},
        }
        for name in NOT_THERE_AT_ONCE
    ]
    return SchemathesisConfig.from_dict(
        {
            "auth": {"openapi": {"key": {"bearer": key}}},
            "generation": {"max-examples": N_EXAMPLES},
            "seed": 1,
            "operations": operations,
        }
    )


def run(schema: Any) -> tuple[set[str], set[str], set[str]]:
    """Every failure, the phases that have called something, and the calls that have succeeded."""
    failures, phases, succeeded = set(), set(), set()
    for event in from_schema(schema).execute():
        if isinstance(event, FatalError):
            raise event.exception
        if isinstance(event, NonFatalError):
            failures.add(f"{event.label}: {event.value!r}")
        if isinstance(event, ScenarioFinished):
            if event.recorder.interactions:
                phases.add(event.phase.value)
            for case_id, interaction in event.recorder.interactions.items():
                if interaction.response is not None and interaction.response.status_code < 300:
                    succeeded.add(event.recorder.cases[case_id].value.operation.label)
            for case_id, checks in event.recorder.checks.items():
                answer = event.recorder.interactions[case_id].response
                found = [check.failure_info.failure for check in checks if check.failure_info]
                failures |= {f"{one.operation}: {one.title}: {one.message}: {answer.content!r}" for one in found}
    return failures, phases, succeeded


@pytest.mark.filterwarnings("default")
def test_every_call_answers_as_described(api: Transport) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", api, config=configuration(api.key, api.description))
    failures, phases, succeeded = run(schema.exclude(path_regex="/events$"))
    assert not failures, "\n\n".join(sorted(failures))
    assert phases == {"examples", "coverage", "fuzzing", "stateful"}
    # else each call was refused for want of a key, and nothing was shown
    assert succeeded >= {"POST /v1/studies", "GET /v1/studies/{name}", "POST /v1/workers", "POST /v1/datasets"}
