"""Places where uploaded files may be kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from service.files.bucket_files import BucketFiles, open_bucket
from service.files.files import Files
from service.files.folder_files import FolderFiles
from tests.bucket import BUCKET, S3, s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture
def aws(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A store that this process finds by its environment, as a service does."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


def _in_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return FolderFiles(tmp_path / "files")


def _in_memory(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return BucketFiles(fsspec.filesystem("memory"), f"files/{uuid4().hex}", tmp_path / "incoming")


def _in_s3(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    request.getfixturevalue("aws")
    return open_bucket(f"s3://{BUCKET}/{uuid4().hex}/", tmp_path / "incoming")


PLACES: dict[str, Callable[[pytest.FixtureRequest, Path], Files]] = {
    "folder": _in_folder,
    "memory": _in_memory,
    "s3": _in_s3,
}


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    """Files in each kind of place; in a bucket by fsspec's file system in memory, and by the server of S3."""
    return PLACES[request.param](request, tmp_path)
