"""Upload a data set, which is known by its content from then on (POST /v1/datasets)."""

from pathlib import Path

from service.errors import Invalid, TooLarge
from service.files.files import Files
from service.files.stored_file import dataset_file
from service.lifecycle.datasets.detect_format import detect_format
from service.lifecycle.datasets.find_dataset import find_dataset
from service.lifecycle.upload import Upload
from service.store import datasets, parquet_heads
from service.store.store import Store
from spezia.common.archives import MAGIC, BadArchive, Kind, open_archive
from spezia.contract.dataset import Dataset
from spezia.contract.problem import FieldProblem


def upload_dataset(store: Store, files: Files, upload: Upload) -> tuple[Dataset, bool]:
    """Keep an upload as a data set; return it and whether it is new. The same content again is harmless.

    Of a gzip or zip archive of one file, the data set is that file, within the same limit of its size.

    Raises:
        Invalid: The data set is not CSV, JSONL or Parquet.
        TooLarge: It is larger than uploads may be, once it is unpacked.
        Unavailable: The data set cannot be stored, for want of space perhaps.
    """
    size_bytes, sha256 = upload.end()
    kind = _archive_kind(upload.path)
    if kind is None:
        return _keep(store, files, upload, size_bytes, sha256)
    unpacked = upload.beside()
    try:
        _unpack(upload.path, kind, unpacked)
        return _keep(store, files, unpacked, *unpacked.end())
    finally:
        unpacked.discard()


def _keep(store: Store, files: Files, upload: Upload, size_bytes: int, sha256: str) -> tuple[Dataset, bool]:
    form = detect_format(upload.path)
    stored = dataset_file(sha256, size_bytes)
    files.send(upload.path, stored)
    files.keep(upload.path, stored)
    with store.writing() as tx:
        is_new = datasets.add(tx, sha256, form, size_bytes)
        parquet_heads.forget_without_rows(tx, sha256)
    return find_dataset(store, sha256), is_new


def _archive_kind(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(8)
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def _unpack(path: Path, kind: Kind, unpacked: Upload) -> None:
    try:
        with path.open("rb") as file, open_archive(file, kind) as (_, pieces):
            for piece in pieces:
                unpacked.write(piece)
    except TooLarge as error:
        raise TooLarge(f"unpacked, {error}") from error
    except BadArchive as error:
        raise Invalid(FieldProblem(field="body", message=f"this {kind} file {error}")) from error
