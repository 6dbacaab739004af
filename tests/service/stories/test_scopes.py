"""Which key may call what: every call of the description, with a key of each scope and with none."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from spezia.contract.key import Scope
from tests.contract.test_openapi import operations
from tests.service.keyed import client, client_of, make_key

PARAMETERS = {"{name}": "none", "{number}": "0", "{file}": "model.bin"}
FOR_ALL = {"GET /healthz", "GET /readyz", "GET /metrics"}
FOR_WORKERS = {
    "POST /v1/workers",
    "POST /v1/workers/{worker_id}/dispatch",
    "POST /v1/workers/{worker_id}/heads/{sha256}",
    "POST /v1/leases/heartbeat",
    "POST /v1/leases/report",
    "POST /v1/leases/{lease_id}/tell",
    "POST /v1/leases/{lease_id}/release",
    "PUT /v1/leases/{lease_id}/artifacts/{file}",
    "PUT /v1/leases/{lease_id}/checkpoint",
    "GET /v1/leases/{lease_id}/checkpoint",
    "PUT /v1/leases/{lease_id}/log",
    "GET /v1/leases/{lease_id}/model/{file}",
    "GET /v1/leases/{lease_id}/pretrained",
    "GET /v1/leases/{lease_id}/pretrained/{file}",
}
FOR_READERS_AND_WORKERS = {"GET /v1/datasets/{sha256}", "GET /v1/datasets/{sha256}/preview"}
FOR_READERS_THOUGH_POST = {"POST /v1/studies:validate"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    app = create_app(Settings(home=Path(tmp_path_factory.mktemp("home")), n_workers=0))
    make_key(app, "first", "admin")
    yield app
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture(scope="module")
def calls(app: FastAPI) -> dict[str, Any]:
    return dict(operations(app.openapi()))


def who_may(call: str) -> set[str]:
    """Scopes, as the docs have them."""
    if call in FOR_ALL:
        return set(Scope)
    if call in FOR_WORKERS:
        return {"worker", "admin"}
    if "/v1/webhooks" in call:
        return {"admin"}
    if call in FOR_READERS_AND_WORKERS:
        return set(Scope)
    if call.startswith("GET ") or call in FOR_READERS_THOUGH_POST:
        return {"read", "write", "admin"}
    return {"write", "admin"}


def send(visitor: Any, call: str) -> int:
    """An empty call; what it finds there does not matter."""
    method, path = call.split()
    for parameter in re.findall(r"\{\w+\}", path):
        path = path.replace(parameter, PARAMETERS.get(parameter, "0" * 32))
    # a stream has no end: its HEAD needs what its GET does
    status: int = visitor.request("HEAD" if path == "/v1/events" else method, path).status_code
    return status


@pytest.mark.parametrize("scope", list(Scope))
def test_every_call_lets_in_its_scopes_and_no_other(app: FastAPI, calls: dict[str, Any], scope: str) -> None:
    visitor = client_of(app, "somebody", scope)
    let_in = {call for call in calls if send(visitor, call) != 403}
    assert let_in == {call for call in calls if scope in who_may(call)}


def test_without_a_key_nothing_answers_but_probes_and_the_description(app: FastAPI, calls: dict[str, Any]) -> None:
    visitor = client(app)
    assert {call for call in calls if send(visitor, call) != 401} == FOR_ALL
    for path in ("/docs", "/openapi.json"):
        assert visitor.get(path).status_code == 200
    for path in (
        "/redoc",
        "/",
        "/v1/none",
        "/v1//studies",
        "/v1/studies/",
        "/%76%31/studies",
        "/healthz/",
        "//healthz",
    ):
        assert visitor.get(path, follow_redirects=False).status_code == 401, path


def test_the_description_says_who_may_call_what(calls: dict[str, Any]) -> None:
    for call, operation in calls.items():
        declared = {scope for one in operation["security"] for scope in one["key"]}
        implied = declared | ({"write"} if "read" in declared else set()) | {"admin"}
        assert (implied if declared else set(Scope)) == who_may(call), call
        assert ({"401", "403", "429"} <= operation["responses"].keys()) == (call not in FOR_ALL), call


def test_a_route_that_nobody_thought_of_needs_a_key(app: FastAPI) -> None:
    app.add_api_route("/v2/secrets", lambda: "secret")
    assert client(app).get("/v2/secrets").status_code == 401
    assert client_of(app, "somebody", "worker").get("/v2/secrets").status_code == 403
