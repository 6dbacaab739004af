"""Uploaded files in a bucket of an S3-compatible store, through fsspec.

Credentials, region and endpoint come from where all programs of AWS take them: the environment (`AWS_…`), its files in
the home directory, or the role of the machine. Nothing of them is in a setting, a row or a line of the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from service.errors import Unavailable
from service.files.disk import remove_abandoned
from service.files.stored_file import StoredFile
from spezia.common.extras import MissingExtra
from spezia.common.lazy_module import LazyModule

botocore = LazyModule("botocore.exceptions")
fsspec = LazyModule("fsspec")

PIECE_BYTES = 4 << 20
"""So much of an object is read at once, by a request of its own."""
PART_BYTES = 8 << 20
"""Size of the parts that a large file is sent in; S3 takes 10,000, and s3fs makes them larger where they do not do."""
N_PARTS = 2
"""Parts that are on their way, and in memory, for each file that is sent."""
_PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
"""For one try of a request, in seconds; s3fs makes five of them, with pauses that grow."""


class BadBucket(ValueError):
    """A bucket cannot be used as it is; the message says which setting to mend."""


class BucketFiles:
    """The objects below a prefix of a bucket; the SHA-256 of each is part of its key.

    So whoever writes late, or twice, writes what is there already, or elsewhere; and nothing has to be renamed.

    Args:
        filesystem: fsspec's file system, which lists what is there and remembers no listing.
        prefix: Bucket and prefix, without a scheme and a slash at the end.
        scratch: Folder of this machine in which uploads are written before they are sent.
    """

    is_at_hand = False

    def __init__(self, filesystem: Any, prefix: str, scratch: Path) -> None:
        self._filesystem = filesystem
        self._prefix = prefix
        self._scratch = scratch

    @property
    def place(self) -> str:
        """URL of the prefix."""
        return f"s3://{self._prefix}"

    def scratch(self, folder: str) -> Path:
        """One folder for all that is on its way."""
        return self._scratch

    def send(self, written: Path, file: StoredFile) -> None:
        """Put an object, which appears when all of it has come; one that is there with its size is not sent again."""
        if self.has(file):
            return
        with self._answering():
            self._filesystem.put_file(str(written), self._key(file), chunksize=PART_BYTES, max_concurrency=N_PARTS)

    def keep(self, written: Path, file: StoredFile) -> None:
        """Nothing: the object has its key, which nobody knows before the transaction is committed."""

    def has(self, file: StoredFile) -> bool:
        """Return whether an object is there, with its size."""
        with self._answering():
            try:
                return bool(self._filesystem.info(self._key(file))["size"] == file.size_bytes)
            except FileNotFoundError:
                return False

    def has_folder(self, folder: str) -> bool:
        """Return whether an object has this folder in its key."""
        return bool(self._list(folder))

    def folders(self, folder: str) -> set[str]:
        """Return what follows a folder in keys, up to the next slash."""
        return {entry["name"].rpartition("/")[2] for entry in self._list(folder) if entry["type"] == "directory"}

    @contextmanager
    def reading(self, file: StoredFile, start: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:
        """Read an object in pieces; one that is removed meanwhile ends in an error.

        Raises:
            FileNotFoundError: It is not there.
        """
        if not self.has(file):
            raise FileNotFoundError(f"{self.place}/{file.path}")
        yield self._pieces(file, start, file.size_bytes if end is None else min(end, file.size_bytes))

    def local_path(self, file: StoredFile) -> Path | None:
        """``None``: no program opens an object as a file."""
        return None

    def local_folder(self, folder: str) -> Path | None:
        """``None``: there are no folders."""
        return None

    def remove(self, folder: str) -> None:
        """Remove all objects with this folder in their keys."""
        with self._answering(), suppress(FileNotFoundError):
            self._filesystem.rm(f"{self._prefix}/{folder}", recursive=True)

    def mark(self, name: str) -> None:
        """Put an empty object beside the folders."""
        with self._answering():
            self._filesystem.pipe_file(f"{self._prefix}/{name}", b"")

    def is_marked(self, name: str) -> bool:
        """Return whether a marker is there."""
        with self._answering():
            return bool(self._filesystem.exists(f"{self._prefix}/{name}"))

    def remove_abandoned(self) -> None:
        """Remove uploads that a crash has ended, of this machine; parts that were sent are the bucket's to remove."""
        remove_abandoned(self._scratch)

    def try_out(self) -> None:
        """Write, list, read and remove a small object, as a service does all of that.

        Raises:
            BadBucket: The store refuses it, or does not answer.
        """
        key = f"{self._prefix}/.tried/{uuid4().hex}"
        try:
            self._filesystem.pipe_file(key, b"spezia")
            self._filesystem.find(f"{self._prefix}/.tried")
            self._filesystem.cat_file(key)
            self._filesystem.rm([key])
        except (OSError, botocore.BotoCoreError) as error:
            raise BadBucket(f"{self.place} cannot be used: {_remedy(error)} ({error})") from error

    def _key(self, file: StoredFile) -> str:
        return f"{self._prefix}/{file.folder}/{file.sha256}/{file.name}"

    def _list(self, folder: str) -> list[dict[str, Any]]:
        with self._answering():
            try:
                return list(self._filesystem.ls(f"{self._prefix}/{folder}", detail=True))
            except FileNotFoundError:
                return []

    def _pieces(self, file: StoredFile, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, PIECE_BYTES):
            with self._answering():
                piece = self._filesystem.cat_file(self._key(file), start=at, end=min(at + PIECE_BYTES, end))
            yield piece

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Let what the store refuses be answered as something that may pass."""
        try:
            yield
        except (OSError, botocore.BotoCoreError) as error:
            raise Unavailable(f"the service cannot use its files in {self.place}: {error}") from error


def open_bucket(url: str, scratch: Path) -> BucketFiles:
    """Return the files below ``s3://BUCKET/PREFIX``, after a try.

    Raises:
        BadBucket: s3fs is not installed, or the bucket cannot be used; the message says what to mend.
    """
    if find_spec("s3fs") is None:
        raise BadBucket(str(MissingExtra("SPEZIA_FILES_URL", "s3fs", "s3")))
    # other services write to the bucket too, so no listing is to be remembered
    filesystem = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True, config_kwargs=_PATIENCE)
    files = BucketFiles(filesystem, url.removeprefix("s3://").rstrip("/"), scratch)
    files.try_out()
    return files


def _remedy(error: Exception) -> str:
    """What to mend, by what the store has answered."""
    if isinstance(error, FileNotFoundError):
        return "there is no such bucket; make it, or name another one in SPEZIA_FILES_URL"
    if isinstance(error, PermissionError):
        return (
            "the store refuses these credentials; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role"
            " of this machine, must allow to list the bucket and to get, put and delete its objects"
        )
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError | botocore.ProfileNotFound):
        return "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return "the store does not answer as S3 does; look at AWS_ENDPOINT_URL_S3 and AWS_DEFAULT_REGION"
