"""The files that a database names: of trials' models, and of uploaded models and data sets, each known by its hash."""

import hashlib
from collections.abc import Iterable
from uuid import uuid4

from service.files.files import Files
from service.files.stored_file import StoredFile
from service.lifecycle.pretrained.find_model import stored_files
from service.store import artifacts, datasets, pretrained
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, write_durably


def kept_files(store: Store) -> list[StoredFile]:
    """Return the files that a database names and that must be there.

    Those of a model that a worker is still uploading are not among them.
    """
    with store.reading() as tx:
        models, data = artifacts.all_files(tx, are_visible=True), datasets.all_files(tx)
        uploaded = pretrained.all_of(tx)
    return [*models, *data, *(file for model in uploaded for file in stored_files(model))]


def uploading_files(store: Store) -> list[StoredFile]:
    """Return the files of models that workers are uploading: each may be there, or have gone with its lease."""
    with store.reading() as tx:
        return artifacts.all_files(tx, are_visible=False)


def copy_files(files: Iterable[StoredFile], source: Files, target: Files) -> list[StoredFile]:
    """Copy files from one place to another; return those that are missing in ``source``, or not what they were.

    What is in ``target`` already is not copied again, so that an interrupted copy goes on where it was.
    """
    return [file for file in files if not is_whole(target, file) and not _copy(file, source, target)]


def is_whole(files: Files, file: StoredFile) -> bool:
    """Return whether a file is there with the content that the database says; all of it is read."""
    digest = hashlib.sha256()
    try:
        with files.reading(file) as pieces:
            for piece in pieces:
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == file.sha256


def _copy(file: StoredFile, source: Files, target: Files) -> bool:
    folder = target.scratch(file.folder)
    make_folder_durably(folder)
    written = folder / f".{uuid4().hex}"
    try:
        with source.reading(file) as pieces:
            _, sha256 = write_durably(written, pieces)
        if sha256 != file.sha256:
            return False
        target.send(written, file)
        target.keep(written, file)
    except FileNotFoundError:
        return False
    finally:
        written.unlink(missing_ok=True)
    return True
