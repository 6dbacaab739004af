"""What holds for every answer and every body, whoever asks."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.failpoints import armed
from service.routes.middleware.body_limit import MAX_BODY_BYTES
from service.settings import Settings
from service.web.frame import POLICY
from spezia.contract.study import Study
from spezia.contract.study_spec import StudyChange, StudySpec
from tests.contract.test_openapi import operations
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import URL, client, client_of, make_key

STUDY = "/v1/studies/feedback"
FILES = {
    "POST /v1/datasets",
    "POST /v1/models",
    "PUT /v1/leases/{lease_id}/artifacts/{file}",
    "PUT /v1/leases/{lease_id}/checkpoint",
}
"""Calls whose bodies are streamed to the disk, each with a limit of its own."""


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, n_workers=0, max_dataset_bytes=1000, max_artifact_bytes=1000)


def test_every_answer_is_safe_for_browsers_and_caches(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gate.OPEN_SECONDS", 0.0)
    visitor = client(app, raise_server_exceptions=False)

    def fail() -> None:
        raise ZeroDivisionError

    with armed("create.looked", fail):
        broken = visitor.post("/v1/studies", json=spec())
    answers = {
        200: visitor.get("/v1/studies"),
        400: visitor.get("/healthz", headers={"Host": "evil.example"}),
        404: visitor.get("/none"),
        405: visitor.put("/v1/studies"),
        413: visitor.post("/v1/studies", content=b"x" * (MAX_BODY_BYTES + 1)),
        422: visitor.post("/v1/studies", json={}),
        500: broken,
    }
    make_key(app, "alice", "read")
    answers[401] = visitor.get("/v1/studies")
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/none", "/v1/studies/a%2Fb/pause", "/prefix/v1/studies"])
def test_a_call_that_there_is_not_is_named(app: FastAPI, path: str) -> None:
    refused = client(app).post(path)
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    named = path.replace("%2F", "/")
    assert refused.json()["detail"] == f"there is no call POST {named}; /docs lists those that there are"


def test_the_page_of_the_docs_is_made_of_what_the_service_has_itself(app: FastAPI) -> None:
    page = client(app).get("/docs")
    assert page.headers["content-security-policy"] == POLICY
    addresses = re.findall(r'(?:src|href|data-url)="([^"]*)"', page.text)
    assert "/openapi.json" in addresses
    assert all(
        one.startswith(("/", "#")) and client(app).get(one).status_code == 200 for one in addresses if one[0] == "/"
    )
    assert sum("swagger-ui" in one for one in addresses) == 2


def test_pages_of_other_origins_read_nothing(app: FastAPI) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        client(app).get("/v1/studies", headers=headers),
        client(app).options("/v1/studies", headers=headers),
        client(app).options("/v1/studies", headers=headers | {"Access-Control-Request-Headers": "authorization"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert client(app).options("/v1/studies", headers=headers).status_code == 405


def test_every_body_has_a_limit(app: FastAPI, settings: Settings) -> None:
    visitor = client(app)
    calls = {name for name, operation in operations(app.openapi()) if "requestBody" in operation}
    assert calls >= FILES
    for call in calls - FILES:
        method, path = call.split()
        path = path.replace("{name}", "feedback").replace("{lease_id}", "0" * 32).replace("{worker_id}", "0" * 32)
        for content in (b"x" * (MAX_BODY_BYTES + 1), iter([b"x" * MAX_BODY_BYTES, b"x"])):
            answer = visitor.request(method, path, content=content, headers={"Lease-Token": "0" * 32})
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large"), call


def test_every_file_has_a_limit_and_leaves_nothing(app: FastAPI, settings: Settings) -> None:
    visitor = client(app)
    worker = HandWorker(visitor)
    visitor.post("/v1/studies", json=spec())
    worker.prepare()
    held = worker.take()
    for n_bytes, code in [(1000, 204), (1001, 413)]:
        assert worker.upload(held, "weights.bin", b"x" * n_bytes).status_code == code
    csv = b"text,label\n" + b"a,b\n" * 300
    assert visitor.post("/v1/datasets", content=csv).json()["code"] == "too-large"
    assert visitor.post("/v1/datasets", content=csv[:999]).status_code == 201
    files = [path for path in settings.home.rglob("*") if path.is_file() and not path.name.startswith("spezia.db")]
    assert sorted(path.stat().st_size for path in files) == [999, 1000]


def test_what_the_service_decides_is_no_field_of_a_request(app: FastAPI) -> None:
    visitor = client_of(app, "alice", "write")
    decided = Study.model_fields.keys() - StudySpec.model_fields.keys()
    assert decided >= {"state", "owner", "facts", "trials"}
    for field in decided:
        assert visitor.post("/v1/studies", json=spec(**{field: None})).status_code == 422, field
    visitor.post("/v1/studies", json=spec())
    for field in (Study.model_fields.keys() | StudySpec.model_fields.keys()) - StudyChange.model_fields.keys():
        assert visitor.patch(STUDY, json={field: None}).status_code == 422, field


def test_a_token_that_is_refused_is_not_repeated(app: FastAPI) -> None:
    visitor = client(app)
    canary = "canary" * 6
    report: dict[str, Any] = {"lease_id": "0" * 32, "token": canary, "step": 1}
    answers = [
        visitor.post("/v1/leases/report", json={"reports": [report]}),
        visitor.post("/v1/leases/heartbeat", json={"leases": [{"lease_id": "0" * 32, "token": canary}]}),
        visitor.post(f"/v1/leases/{'0' * 32}/release", json={"reason": "preempted"}, headers={"Lease-Token": canary}),
        TestClient(app, base_url=URL, headers={"Authorization": f"Bearer {canary}"}).get("/v1/none"),
    ]
    for answer in answers:
        assert answer.status_code in (404, 422)
        assert canary not in answer.text
