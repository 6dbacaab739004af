"""What holds of uploaded files wherever they are kept."""

import hashlib
from pathlib import Path
from uuid import uuid4

import pytest

from service.files.files import Files
from service.files.stored_file import ARTIFACTS, StoredFile, dataset_file, lease_folder


def stored(content: bytes, name: str = "model.safetensors", lease_id: str = "1" * 32) -> StoredFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredFile(folder=lease_folder(lease_id), name=name, size_bytes=len(content), sha256=sha256)


def written(files: Files, file: StoredFile, content: bytes) -> Path:
    """A whole file in the scratch folder."""
    path = files.scratch(file.folder) / f".{uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keep(files: Files, content: bytes, file: StoredFile) -> StoredFile:
    path = written(files, file, content)
    files.send(path, file)
    files.keep(path, file)
    path.unlink(missing_ok=True)
    return file


def read(files: Files, file: StoredFile, start: int = 0, end: int | None = None) -> bytes:
    with files.reading(file, start, end) as pieces:
        return b"".join(pieces)


def test_a_file_is_read_whole_and_in_part(files: Files) -> None:
    content = bytes(range(256)) * 20_000  # more than a piece
    file = keep(files, content, stored(content, "adapter/model.safetensors"))
    assert files.has(file)
    assert read(files, file) == content
    assert read(files, file, 3, 9) == content[3:9]
    assert read(files, file, len(content) - 2) == content[-2:]
    assert read(files, file, 0, len(content) + 9) == content
    empty = keep(files, b"", stored(b"", "empty"))
    assert read(files, empty) == b""


def test_what_was_sent_and_not_kept_changes_nothing_of_what_is_there(files: Files) -> None:
    """A worker that lost its lease has a file of the same name on its way."""
    file = keep(files, b"the model", stored(b"the model"))
    late = stored(b"another one")
    path = written(files, late, b"another one")
    files.send(path, late)
    path.unlink()
    assert read(files, file) == b"the model"


def test_a_file_that_is_not_there_is_not_found(files: Files) -> None:
    file = stored(b"never sent")
    assert not files.has(file)
    with pytest.raises(FileNotFoundError), files.reading(file):
        pass


def test_a_folder_goes_with_all_files_in_it_and_no_other_does(files: Files) -> None:
    first, second = stored(b"1", lease_id="1" * 32), stored(b"2", lease_id="12" * 16)
    for file, content in ((first, b"1"), (second, b"2"), (stored(b"card", "README.md"), b"card")):
        keep(files, content, file)
    assert files.folders(ARTIFACTS) == {"1" * 32, "12" * 16}
    for _ in range(2):  # harmless when it is done again
        files.remove(first.folder)
    assert (files.has(first), files.has(second)) == (False, True)
    assert (files.has_folder(first.folder), files.has_folder(second.folder)) == (False, True)
    assert files.folders(ARTIFACTS) == {"12" * 16}


def test_of_nothing_there_is_nothing(files: Files) -> None:
    assert files.folders(ARTIFACTS) == set()
    assert not files.has_folder(ARTIFACTS)
    files.remove(lease_folder("1" * 32))
    files.remove_abandoned()


def test_the_same_content_again_is_harmless(files: Files) -> None:
    sha256 = hashlib.sha256(b"text,label\n").hexdigest()
    for _ in range(2):
        file = keep(files, b"text,label\n", dataset_file(sha256, 11))
    assert read(files, file) == b"text,label\n"


def test_services_know_a_shared_place_by_its_marker(files: Files) -> None:
    assert not files.is_marked("database-1")
    files.mark("database-1")
    assert files.is_marked("database-1")
    assert not files.is_marked("database-2")


def test_only_a_folder_is_opened_by_programs_of_this_machine(files: Files) -> None:
    file = keep(files, b"weights", stored(b"weights"))
    path, folder = files.local_path(file), files.local_folder(file.folder)
    assert (path is None) == (folder is None) == files.place.startswith("s3://")
    assert path is None or path.read_bytes() == b"weights"
