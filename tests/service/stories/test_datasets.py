"""Uploading data sets: known by their content, refused by it too."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow
import pyarrow.parquet
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.lifecycle.upload import Upload
from service.settings import Settings
from tests.service.conftest import URL
from tests.service.hand_worker import spec

CSV = b"text,label\nwhat a film,good\nnever again,bad\n"
JSONL = b'{"text": "what a film", "label": "good"}\n'


def parquet() -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "label": ["b"]}), sink)
    return sink.getvalue()


def tarred() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("train.csv")
        member.size = len(CSV)
        archive.addfile(member, io.BytesIO(CSV))
    return sink.getvalue()


def zipped(*contents: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"train{number}.csv", content)
    return sink.getvalue()


def encrypted() -> bytes:
    """An archive that says so; what is in it does not matter."""
    content = bytearray(zipped(CSV))
    content[content.index(b"PK\3\4") + 6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def files(settings: Settings) -> set[str]:
    return (
        {path.name for path in (settings.files / "datasets").iterdir()}
        if (settings.files / "datasets").exists()
        else set()
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (CSV, "csv"),
        (b"\xef\xbb\xbf" + CSV, "csv"),
        (JSONL, "jsonl"),
        (b'{"text": "once upon a time"}\n', "jsonl"),
        (parquet(), "parquet"),
        ("é,ü\n".encode(), "csv"),
        (CSV.replace(b",", b";"), "csv"),
        (CSV.replace(b",", b"\t"), "csv"),
        (b"sep=;\n" + CSV.replace(b",", b";"), "csv"),
        (b"PK" + CSV, "csv"),
    ],
    ids=[
        "CSV",
        "CSV with a mark",
        "JSONL",
        "JSONL of one field",
        "Parquet",
        "CSV not in ASCII",
        "semicolons",
        "tabs",
        "sep=",
        "a primary key",
    ],
)
def test_what_is_uploaded_is_known_by_its_content(
    http: TestClient, settings: Settings, content: bytes, kind: str
) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    # whatever the sender calls it
    first = http.post("/v1/datasets", content=content, headers={"Content-Type": "image/png"})
    again = http.post("/v1/datasets", content=iter([content[:3], content[3:]]))
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json() == again.json()
    assert (first.json()["reference"], first.json()["format"]) == (f"sha256:{sha256}", kind)
    assert first.headers["location"] == f"/v1/datasets/{sha256}"
    assert http.get(first.headers["location"]).content == content
    assert files(settings) == {sha256}


REFUSED: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (gzip.compress(b""), "empty"),
    (gzip.compress(gzip.compress(CSV)), "gzip"),
    (gzip.compress(tarred()), "tar"),
    (gzip.compress(CSV)[:-9], "this gzip file cannot be unpacked (Compressed file ended before"),
    (zipped()[:-9], "this zip file cannot be unpacked (File is not a zip file); pack it again"),
    (zipped(CSV, CSV), "this zip file holds 2 files; pack one file"),
    (zipped(), "this zip file holds 0 files"),
    (zipped(*[b""] * 20_000), "this zip file holds many files"),
    (zipped(CSV, method=zipfile.ZIP_LZMA), "this zip file is packed in a rare way"),
    (encrypted(), "this zip file cannot be unpacked (File 'train0.csv' is encrypted"),
    (tarred(), "tar"),
    (parquet()[:-1], "cut off"),
    (b"PAR1PAR1", "cut off"),
    (CSV + "é".encode("latin-1") + b"\n", "UTF-8"),
    ("text,label\n".encode("utf-16"), "UTF-8"),
    (CSV + b"\xc3", "UTF-8"),
    (CSV + b"\0", "null"),
    (b"[" * 100_000, "one JSON object per line"),
    (b'{"a":' * 100_000, "whole JSON object"),
    (b'{"text": 1', "whole JSON object"),
    (b"{}", "no fields"),
    (b"one column\n1\n", "two columns"),
    (b'"' + b"a" * 200_000 + b'",b', "header"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED, ids=[f"{n} {why}" for n, (_, why) in enumerate(REFUSED)])
def test_what_is_no_data_set_is_refused_and_not_kept(
    http: TestClient, settings: Settings, content: bytes, reason: str
) -> None:
    answer = http.post("/v1/datasets", content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert reason in answer.json()["detail"]
    assert files(settings) == set()


@contextmanager
def client_of(settings: Settings, max_dataset_bytes: int) -> Iterator[TestClient]:
    app: FastAPI = create_app(settings.model_copy(update={"max_dataset_bytes": max_dataset_bytes}))
    yield TestClient(app, base_url=URL)
    app.state.parts.proposer.close()
    app.state.parts.store.close()


@pytest.fixture
def small(settings: Settings) -> Iterator[TestClient]:
    with client_of(settings, len(CSV)) as client:
        yield client


def test_the_size_limit_holds_to_the_byte(small: TestClient, settings: Settings) -> None:
    assert small.post("/v1/datasets", content=CSV).status_code == 201
    answer = small.post("/v1/datasets", content=iter([CSV, b"x"]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert len(files(settings)) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
@pytest.mark.parametrize("content", [CSV, JSONL, parquet()])
def test_an_archive_is_kept_unpacked(
    http: TestClient, settings: Settings, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    packed = http.post("/v1/datasets", content=pack(content))
    plain = http.post("/v1/datasets", content=content)
    assert (packed.status_code, plain.status_code) == (201, 200), packed.text
    assert packed.json() == plain.json()
    assert packed.json()["size_bytes"] == len(content)
    assert http.get(packed.headers["location"]).content == content
    assert files(settings) == {hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_an_archive_has_the_limit_of_what_is_in_it(
    settings: Settings, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def write(upload: Upload, piece: bytes) -> None:
        nonlocal written
        written += len(piece)
        original(upload, piece)

    original = Upload.write
    monkeypatch.setattr(Upload, "write", write)
    # a gigabyte would be a megabyte: 64 MiB do, of which no more is unpacked than the limit and a piece
    bomb = pack(b"text,label\n" + bytes(2**26))
    assert len(bomb) < 2**17
    with client_of(settings, 2**22) as client:
        answer = client.post("/v1/datasets", content=bomb)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert answer.json()["detail"].startswith("unpacked, the file is larger than 4194304 bytes")
    assert written <= len(bomb) + 2**22 + 2**20
    assert files(settings) == set()


def test_what_a_zip_says_of_its_size_is_not_believed(small: TestClient, settings: Settings) -> None:
    content = bytearray(zipped(CSV * 100))
    for place in (content.index(b"PK\3\4") + 22, content.index(b"PK\1\2") + 24):
        content[place : place + 4] = len(CSV).to_bytes(4, "little")
    answer = small.post("/v1/datasets", content=bytes(content))
    assert answer.status_code in (413, 422), answer.text
    assert files(settings) == set()


def test_a_data_set_may_be_larger_than_other_bodies(http: TestClient) -> None:
    content = b"text,label\n" + b"a,b\n" * 400_000
    assert http.post("/v1/datasets", content=content).json()["size_bytes"] == len(content)


def test_ranges_are_served(http: TestClient) -> None:
    location = http.post("/v1/datasets", content=CSV).headers["location"]
    answer = http.get(location, headers={"Range": "bytes=5-9"})
    assert (answer.status_code, answer.content) == (206, CSV[5:10])
    assert http.get(location, headers={"Range": "bytes=9999-"}).status_code == 416


def test_what_nobody_uploaded_is_not_found(http: TestClient) -> None:
    assert http.get(f"/v1/datasets/{'0' * 64}").json()["code"] == "dataset-not-found"
    assert http.get("/v1/datasets/..%2f..%2fspezia.db").status_code in (404, 422)


def test_a_study_names_uploads_that_are_there(http: TestClient) -> None:
    reference = http.post("/v1/datasets", content=CSV).json()["reference"]
    refused = http.post("/v1/studies", json=spec(data={"train": reference, "test": "sha256:" + "0" * 64}))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "data.test")
    assert http.post("/v1/studies", json=spec(data={"train": reference})).status_code == 201
