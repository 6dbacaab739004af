"""What a page of another site makes a browser send to a service that needs no key."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.settings import Settings
from tests.contract.test_openapi import operations
from tests.service.hand_worker import spec
from tests.service.keyed import client, client_of

OURS = "http://127.0.0.1"
THEIRS = (
    "https://evil.example",
    "null",
    "https://127.0.0.1",  # another scheme
    "http://127.0.0.1:3000",  # another port
    "http://localhost",  # another name
    "http://127.0.0.1.evil.example",
    "",
)
BODIES: tuple[dict[str, Any], ...] = (
    {"json": spec()},
    {"data": {"a": "b"}},
    {"files": {"file": b"text,label\na,b\n"}},
    {"content": b"text,label\na,b\n", "headers": {"Content-Type": "text/plain"}},
    {},
)
"""JSON, a form, a form with a file, text and nothing: all but the first need no leave of the service to be sent."""


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, n_workers=0)


def unsafe_calls(app: FastAPI) -> list[tuple[str, str]]:
    calls = [name.split() for name, _ in operations(app.openapi()) if not name.startswith("GET ")]
    return [(method, re.sub(r"{\w+}", "0" * 32, path)) for method, path in calls]


def send(visitor: TestClient, method: str, path: str, body: dict[str, Any], **headers: str) -> Any:
    return visitor.request(method, path, **{**body, "headers": {**body.get("headers", {}), **headers}})


def test_no_page_of_another_site_changes_anything(app: FastAPI) -> None:
    visitor = client(app)
    calls = unsafe_calls(app)
    assert {method for method, _ in calls} == {"POST", "PUT", "PATCH", "DELETE"}
    says = [{"Origin": origin} for origin in THEIRS]
    says += [{"Sec-Fetch-Site": site} for site in ("cross-site", "same-site")]
    says += [{"Origin": OURS, "Sec-Fetch-Site": "cross-site"}]
    for method, path in calls:
        for headers in says:
            answer = visitor.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path, headers)
        for body in BODIES:
            assert send(visitor, method, path, body, Origin=THEIRS[0]).status_code == 403, (method, path, body)
    assert visitor.get("/v1/studies").json()["studies"] == []
    assert not (app.state.settings.files / "datasets").exists()


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "POST"])
def test_a_method_that_nobody_thought_of_is_refused_too(app: FastAPI, method: str) -> None:
    assert client(app).request(method, "/v1/studies", headers={"Origin": THEIRS[0]}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": OURS},
        {"Origin": f"{OURS}:80"},
        {"Origin": OURS, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:8765", "Host": "localhost:8765"},
        {"Origin": "http://[::1]:8765", "Host": "[::1]:8765"},
    ],
)
def test_programs_and_pages_of_our_own_are_served(app: FastAPI, headers: dict[str, str]) -> None:
    assert client(app).post("/v1/studies", json=spec(), headers=headers).status_code == 201


@pytest.mark.parametrize("origin", THEIRS)
def test_a_page_of_another_site_may_ask_for_what_it_cannot_read(app: FastAPI, origin: str) -> None:
    answer = client(app).get("/v1/studies", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_where_keys_are_needed_a_key_is_enough(app: FastAPI) -> None:
    # a browser sends no key by itself: whoever shows one was given it
    alice = client_of(app, "alice", "write")
    foreign = {"Origin": THEIRS[0], "Sec-Fetch-Site": "cross-site"}
    assert client(app).post("/v1/studies", json=spec(), headers=foreign).status_code == 401
    assert alice.post("/v1/studies", json=spec(), headers=foreign).status_code == 201
