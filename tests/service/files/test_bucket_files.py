"""Uploaded files in a bucket: what is refused at the start, and what happens while the store does not answer."""

from pathlib import Path

import fsspec
import httpx2
import pytest

from service.errors import Unavailable
from service.files import bucket_files
from service.files.bucket_files import BadBucket, BucketFiles, open_bucket
from service.files.files import Files
from service.files.stored_file import ARTIFACTS
from service.settings import Settings
from tests.bucket import BUCKET, S3, SECRET
from tests.service.files.test_files import keep, read, stored


class Refusing:
    """A file system that raises what it is told to, whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _verb: str) -> object:
        def refuse(*_args: object, **_options: object) -> object:
            raise self._error

        return refuse


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "there is no such bucket; make it, or name another"),
        (PermissionError("Access Denied"), "must allow to list the bucket and to get, put and delete its objects"),
        (OSError(5, "Bad Gateway"), "look at AWS_ENDPOINT_URL_S3 and AWS_DEFAULT_REGION"),
    ],
    ids=["no bucket", "not allowed", "no S3"],
)
def test_a_bucket_that_cannot_be_used_says_what_to_mend(error: Exception, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(BadBucket, match=remedy) as refused:
        BucketFiles(Refusing(error), "files/spezia", tmp_path).try_out()
    assert str(refused.value).startswith("s3://files/spezia cannot be used: ")
    assert str(error) in str(refused.value)


def test_a_try_leaves_nothing(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    BucketFiles(memory, "tried/spezia", tmp_path).try_out()
    assert memory.find("tried") == []


def test_without_s3fs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_files, "find_spec", lambda _name: None)
    with pytest.raises(BadBucket, match=r"SPEZIA_FILES_URL needs s3fs, .* pip install 'spezia\[s3\]'"):
        open_bucket("s3://files", tmp_path)


@pytest.mark.parametrize("error", [OSError(5, "Bad Gateway"), PermissionError("no"), FileNotFoundError("no bucket")])
def test_a_store_that_refuses_later_is_answered_as_something_that_passes(error: Exception, tmp_path: Path) -> None:
    files: Files = BucketFiles(Refusing(error), "files", tmp_path)
    file = stored(b"model")
    path = tmp_path / "written"
    path.write_bytes(b"model")
    refused = [lambda: files.send(path, file), lambda: files.mark("database-1")]
    if not isinstance(error, FileNotFoundError):
        refused += [lambda: files.has(file), lambda: files.remove(file.folder), lambda: files.folders("artifacts")]
    for ask in refused:
        with pytest.raises(Unavailable, match="the service cannot use its files in s3://files"):
            ask()


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket", "https://bucket", "s3://", "s3://UPPER", "s3://bucket?secret=1", "bucket/prefix"]
)
def test_what_is_no_bucket_is_refused_before_anything_is_opened(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files_url"):
        Settings(home=tmp_path, files_url=url)


@pytest.fixture
def no_credentials(aws: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    return aws


@pytest.mark.slow
def test_credentials_are_taken_from_the_environment_and_asked_for_where_there_are_none(
    no_credentials: S3, tmp_path: Path
) -> None:
    with pytest.raises(BadBucket, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"):
        open_bucket("s3://files", tmp_path)


@pytest.mark.slow
def test_credentials_that_are_refused_are_named(aws: S3, tmp_path: Path) -> None:
    settings = f"{aws.environment['AWS_ENDPOINT_URL_S3']}/moto-api/reset-auth"
    try:
        httpx2.post(settings, content=b"0")  # from now on moto asks who calls, and knows nobody
        with pytest.raises(BadBucket, match="the store refuses these credentials; AWS_ACCESS_KEY_ID and") as refused:
            open_bucket("s3://files/spezia", tmp_path)
    finally:
        httpx2.post(settings, content=b"inf")
    assert SECRET not in str(refused.value)


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(aws: S3, tmp_path: Path) -> None:
    with pytest.raises(BadBucket, match="s3://nowhere/spezia cannot be used: there is no such bucket") as refused:
        open_bucket("s3://nowhere/spezia", tmp_path)
    assert SECRET not in str(refused.value)


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named(aws: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(BadBucket, match="the store does not answer as S3 does; look at AWS_ENDPOINT_URL_S3"):
        open_bucket("s3://files/spezia", tmp_path)


@pytest.mark.slow
def test_a_large_file_comes_in_parts_and_goes_in_pieces(
    aws: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_files, "PART_BYTES", 5 << 20)  # the smallest that S3 takes
    files = open_bucket(f"s3://{BUCKET}/large", tmp_path / "incoming")
    content = bytes(range(256)) * (12 << 12)
    file = keep(files, content, stored(content, "large.safetensors"))
    assert read(files, file) == content
    assert [key for key in aws.object_keys() if key.startswith("large/")] == [
        f"large/{file.folder}/{file.sha256}/large.safetensors"
    ]


@pytest.mark.slow
def test_what_another_service_does_is_seen_at_once(aws: S3, tmp_path: Path) -> None:
    one, other = (open_bucket(f"s3://{BUCKET}/seen", tmp_path / name) for name in ("one", "other"))
    file = keep(one, b"model", stored(b"model"))
    assert other.folders(ARTIFACTS) == {"1" * 32}
    one.remove(file.folder)
    assert (other.folders(ARTIFACTS), other.has(file)) == (set(), False)
