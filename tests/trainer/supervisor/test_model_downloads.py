"""Uploaded models on their way to an engine that knows no HTTP."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from spezia.contract.assignments import Assignment
from spezia.contract.model_files import Artifact, UploadedModel
from spezia.contract.model_rules import identity
from spezia.contract.protocol import TOKEN_HEADER
from tests.fake_service import SPEC, assignment
from trainer.supervisor.client import ServiceClient, ServiceUnavailable
from trainer.supervisor.model_downloads import with_local_model

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


class Service:
    """Hands a model out, to the holder of the lease."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.calls: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        held = assignment()
        assert request.headers[TOKEN_HEADER] == held.token
        path = request.url.path.removeprefix(f"/v1/leases/{held.lease_id}/pretrained")
        self.calls.append(path)
        if path:
            return httpx2.Response(200, content=self.files[path[1:]])
        files = [Artifact(file=name, size_bytes=1, sha256="0" * 64) for name in self.files]
        now = datetime(2026, 11, 22, tzinfo=UTC)
        model = UploadedModel(reference="", sha256="0" * 64, size_bytes=1, files=files, uploaded_at=now)
        return httpx2.Response(200, json=json.loads(model.model_dump_json()))

    @property
    def client(self) -> ServiceClient:
        return ServiceClient("http://service", transport=httpx2.MockTransport(self))


def named(files: dict[str, bytes]) -> Assignment:
    assert SPEC.model is not None
    sha256 = identity({name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    return assignment(
        spec=SPEC.model_copy(update={"model": SPEC.model.model_copy(update={"name": f"sha256:{sha256}"})})
    )


def test_an_uploaded_model_becomes_a_folder_once_for_all_assignments(tmp_path: Path) -> None:
    service = Service(FILES)
    for _ in range(2):
        local = with_local_model(named(FILES), tmp_path / "cache", service.client)
        assert local.spec.model is not None
        folder = Path(local.spec.model.name)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert service.calls == ["", "/config.json", "/model.safetensors"]
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_a_model_that_was_not_uploaded_stays_as_it_is(tmp_path: Path) -> None:
    for given in (assignment(), assignment(spec=SPEC.model_copy(update={"model": None}))):
        assert with_local_model(given, tmp_path, Service({}).client) == given


@pytest.mark.parametrize("damaged", [{"config.json": b"{ }"}, {"vocab.txt": b""}], ids=["another byte", "a file more"])
def test_a_damaged_model_is_not_kept(tmp_path: Path, damaged: dict[str, bytes]) -> None:
    with pytest.raises(ServiceUnavailable, match="came as"):
        with_local_model(named(FILES), tmp_path, Service(FILES | damaged).client)
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_lies_writes_nothing_outside_the_model(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="which no model has"):
        with_local_model(named(FILES), tmp_path / "cache", Service({"..": b""}).client)
    assert [path.name for path in tmp_path.rglob("*")] == ["cache"]
