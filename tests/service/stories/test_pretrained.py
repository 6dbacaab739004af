"""Uploading pretrained models: whole or not at all, known by their content, each its owner's, and never code."""

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from spezia.contract.model_rules import identity
from spezia.contract.protocol import TOKEN_HEADER
from tests.service.conftest import URL
from tests.service.hand_worker import HandWorker, spec
from tests.service.keyed import client_of, make_key

CONFIG = json.dumps({"model_type": "bert", "architectures": ["BertModel"]}).encode()


def weights(header: dict[str, Any] | None = None, n_bytes: int = 4) -> bytes:
    head = json.dumps(header or {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(n_bytes)


GOOD = {"config.json": CONFIG, "model.safetensors": weights(), "tokenizer.json": b"{}"}
SHA256 = identity({name: hashlib.sha256(content).hexdigest() for name, content in GOOD.items()})


def tarred(files: dict[str, bytes], folder: str = "model/", *more: tuple[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in (*files.items(), *more):
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


def special(kind: bytes) -> bytes:
    """A good model, and something that is no file."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("model/vocab.txt")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return sink.getvalue()[: tarfile.BLOCKSIZE] + tarred(GOOD)


def left(settings: Settings) -> set[str]:
    return (
        {path.name for path in (settings.files / "models").iterdir()} if (settings.files / "models").exists() else set()
    )


@pytest.mark.parametrize("folder", ["", "./", "model/", "./model/"])
def test_a_model_is_known_by_its_content_however_it_is_packed(
    http: TestClient, settings: Settings, folder: str
) -> None:
    packed = tarred(GOOD, folder)
    first = http.post("/v1/models", content=iter([packed[at : at + 700] for at in range(0, len(packed), 700)]))
    again = http.post("/v1/models", content=tarred(dict(reversed(GOOD.items()))))
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json() == again.json() == http.get(first.headers["location"]).json()
    assert first.json()["reference"] == f"sha256:{SHA256}"
    assert [file["file"] for file in first.json()["files"]] == sorted(GOOD)
    assert first.json()["size_bytes"] == sum(map(len, GOOD.values()))
    assert left(settings) == {SHA256}


def changed(**files: bytes | None) -> bytes:
    """A good model with other files, whose names have ``_`` for the dot; ``None``: without it."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    return tarred({name: content for name, content in (GOOD | named).items() if content is not None})


def config(**fields: Any) -> bytes:
    return json.dumps({"model_type": "bert"} | fields).encode()


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "cut off"),
    "no tar": (b"x" * 2000, "no tar archive"),
    "a packed tar": (b"\x1f\x8b" + bytes(600), "no tar archive"),
    "a tar of nothing": (bytes(10240), "config.json is missing"),
    "a tar that is cut off in a file": (tarred(GOOD)[:1500], "cut off"),
    "a tar without its end": (tarred(GOOD).rstrip(b"\0"), "cut off"),
    "two tars": (tarred(GOOD) + tarred(GOOD), "something follows"),
    "a symbolic link": (special(tarfile.SYMTYPE), "no plain file"),
    "a link": (special(tarfile.LNKTYPE), "no plain file"),
    "a device": (special(tarfile.CHRTYPE), "no plain file"),
    "a pipe": (special(tarfile.FIFOTYPE), "no plain file"),
    "a way out": (tarred(GOOD, "../"), "another folder"),
    "a file of two folders": (
        tarred({"a/config.json": CONFIG, "b/model.safetensors": weights()}, ""),
        "another folder",
    ),
    "an absolute path": (tarred(GOOD, "/tmp/model/"), "another folder"),
    "code": (changed(modeling__py=b"import os"), "'modeling.py' is no file of a model"),
    "a pickle": (changed(pytorch_model__bin=b"\x80\x04"), "'pytorch_model.bin' is no file of a model"),
    "an adapter": (changed(adapter_config__json=b"{}"), "'adapter_config.json' is no file of a model"),
    "a hidden file": (tarred(GOOD | {".config.json": CONFIG}), "no file of a model"),
    "a file twice": (tarred(GOOD, "model/", ("config.json", CONFIG)), "config.json comes twice"),
    "no config": (changed(config__json=None), "config.json is missing"),
    "no weights": (changed(model__safetensors=None), "weights are missing"),
    "a config of code": (changed(config__json=config(auto_map={"AutoModel": "m.M"})), "code of its own (auto_map)"),
    "code deep in it": (changed(config__json=config(text=[{"auto_map": 1}])), "code of its own (auto_map)"),
    "a tokenizer of code": (changed(tokenizer_config__json=b'{"auto_map": {}}'), "tokenizer_config.json asks for code"),
    "a pipeline of code": (changed(config__json=config(custom_pipelines={})), "custom_pipelines"),
    "kernels of a repository": (
        changed(config__json=config(attn_implementation="evil/kernels")),
        "attn_implementation",
    ),
    "kernels of a part": (changed(config__json=config(_attn_implementation={"": "a/b"})), "_attn_implementation"),
    "quantised weights": (changed(config__json=config(quantization_config={})), "quantised"),
    "no model type": (changed(config__json=b"{}"), "model_type"),
    "a config that is a list": (changed(config__json=b"[]"), "no JSON object"),
    "a config that is no JSON": (changed(config__json=b"{"), "config.json holds no JSON"),
    "a config of brackets": (changed(config__json=b"[" * 200_000), "100000 objects and lists"),
    "a deep config": (changed(config__json=b"[" * 50_000 + b"]" * 50_000), "no JSON"),
    "a config of many bytes": (changed(config__json=config(a="x" * (4 << 20))), "larger than"),
    "weights that are a pickle": (changed(model__safetensors=b"\x80\x04" + bytes(100)), "no safetensors file"),
    "weights that are cut off": (changed(model__safetensors=weights()[:-1]), "cut off"),
    "weights with something behind": (changed(model__safetensors=weights() + b"!"), "cut off"),
    "weights without a header": (changed(model__safetensors=b"\2\0"), "no safetensors file"),
    "weights of another kind": (changed(model__safetensors=weights({"w": {"shape": []}})), "no safetensors file"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def refusing(home: Path) -> Iterator[TestClient]:
    """A service for all cases, since none changes it."""
    app = create_app(Settings(home=home, n_workers=0))
    yield TestClient(app, URL)
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_is_refused_and_nothing_of_it_kept(refusing: TestClient, home: Path, case: str) -> None:
    content, message = REFUSED[case]
    reply = refusing.post("/v1/models", content=content)
    assert reply.status_code == 422, reply.text
    assert message in reply.json()["detail"]
    assert left(Settings(home=home)) == set()


@pytest.fixture
def small(settings: Settings) -> Iterator[FastAPI]:
    app = create_app(settings.model_copy(update={"max_model_bytes": 200}))
    yield app
    app.state.parts.proposer.close()
    app.state.parts.store.close()


def test_a_model_has_a_limit_which_its_header_tells_before_its_bytes_come(small: FastAPI, settings: Settings) -> None:
    assert sum(map(len, GOOD.values())) <= 200
    http = TestClient(small, URL)
    assert http.post("/v1/models", content=tarred(GOOD)).status_code == 201
    header = tarfile.TarInfo("model/model.safetensors")
    header.size = 1 << 60
    for content in (header.tobuf(tarfile.GNU_FORMAT), changed(vocab__txt=bytes(200))):
        reply = http.post("/v1/models", content=content)
        assert (reply.status_code, reply.json()["code"]) == (413, "too-large")
        assert "SPEZIA_MAX_MODEL_BYTES" in reply.json()["detail"]
    assert left(settings) == {SHA256}


def test_a_study_names_a_model_that_its_owner_has_uploaded(app: FastAPI, settings: Settings) -> None:
    make_key(app, "root", "admin")
    alice, bob = (client_of(app, name, "write") for name in ("alice", "bob"))
    study = spec(name="a", model={"name": f"sha256:{SHA256}"})
    refused = alice.post("/v1/studies", json=study)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "model.name")
    assert alice.post("/v1/models", content=tarred(GOOD)).status_code == 201
    assert alice.post("/v1/studies", json=study).status_code == 201
    # what is somebody else's is not there, until one has it too
    assert bob.get(f"/v1/models/{SHA256}").json()["code"] == "model-not-found"
    assert bob.post("/v1/studies", json=study | {"name": "b"}).status_code == 422
    assert bob.post("/v1/models", content=tarred(GOOD)).status_code == 201
    assert bob.post("/v1/studies", json=study | {"name": "b"}).status_code == 201
    assert left(settings) == {SHA256}


def test_who_holds_a_lease_fetches_the_model_of_its_study_and_no_other(http: TestClient, worker: HandWorker) -> None:
    http.post("/v1/models", content=tarred(GOOD))
    http.post("/v1/studies", json=spec(name="a", model={"name": f"sha256:{SHA256}"}))
    held = worker.take()
    path = f"/v1/leases/{held['lease_id']}/pretrained"
    headers = {TOKEN_HEADER: held["token"]}
    listed = http.get(path, headers=headers).json()
    assert listed["sha256"] == SHA256
    for name, content in GOOD.items():
        assert http.get(f"{path}/{name}", headers=headers).content == content
    for name in ("vocab.txt", "..%2F..%2Fspezia.db"):
        assert http.get(f"{path}/{name}", headers=headers).status_code in (404, 422)
    assert http.get(path, headers={TOKEN_HEADER: "0" * 32}).json()["code"] == "lease-lost"
