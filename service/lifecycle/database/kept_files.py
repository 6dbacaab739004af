"""The files that a database names: of trials' models, and of uploaded models and data sets, each known by its hash."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from pydantic import BaseModel

from service.store import artifacts, datasets, pretrained
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, rename_durably, write_durably

_PIECE_BYTES = 1 << 20


class KeptFile(BaseModel):
    """One file that a database names."""

    path: str
    """Path below the folder of uploaded files."""
    size_bytes: int
    sha256: str


def kept_files(store: Store) -> list[KeptFile]:
    """Return the files that a database names and that must be there.

    Those of a model that a worker is still uploading are not among them.
    """
    with store.reading() as tx:
        models, data, uploaded = artifacts.all_files(tx), datasets.all_of(tx), pretrained.all_of(tx)
    kept = [_of_model(row) for row in models if row.is_visible]
    kept += [KeptFile(path=f"datasets/{row.sha256}", size_bytes=row.size_bytes, sha256=row.sha256) for row in data]
    return kept + [
        KeptFile(path=f"models/{model.sha256}/{file.file}", size_bytes=file.size_bytes, sha256=file.sha256)
        for model in uploaded
        for file in model.files
    ]


def uploading_files(store: Store) -> list[KeptFile]:
    """Return the files of models that workers are uploading: each may be there, or have gone with its lease."""
    with store.reading() as tx:
        return [_of_model(row) for row in artifacts.all_files(tx) if not row.is_visible]


def copy_files(files: Iterable[KeptFile], source: Path, target: Path) -> list[KeptFile]:
    """Copy files from one folder to another; return those that are missing in ``source``, or not what they were.

    What is in ``target`` already is not copied again, so that an interrupted copy goes on where it was.
    """
    return [file for file in files if not is_whole(target, file) and not _copy(file, source, target)]


def is_whole(folder: Path, file: KeptFile) -> bool:
    """Return whether a file is in a folder with the content that the database says."""
    path = folder / file.path
    try:
        if path.stat().st_size != file.size_bytes:
            return False
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    except FileNotFoundError:
        return False


def _of_model(row: Any) -> KeptFile:
    """A file of a trial's model, by its row."""
    return KeptFile(path=f"artifacts/{row.lease_id}/{row.file}", size_bytes=row.size_bytes, sha256=row.sha256)


def _copy(file: KeptFile, source: Path, target: Path) -> bool:
    final = target / file.path
    try:
        content = (source / file.path).open("rb")
    except FileNotFoundError:
        return False
    with content:
        make_folder_durably(final.parent)
        partial = final.with_name(f".{uuid4().hex}")
        try:
            _, sha256 = write_durably(partial, _pieces(content))
            if sha256 != file.sha256:
                return False
            rename_durably(partial, final)
        finally:
            partial.unlink(missing_ok=True)
    return True


def _pieces(content: IO[bytes]) -> Iterator[bytes]:
    while piece := content.read(_PIECE_BYTES):
        yield piece
