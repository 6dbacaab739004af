"""A pretrained model that a caller uploads as a tar: read as it comes, hidden until it is whole."""

import shutil
import tarfile
from pathlib import Path
from uuid import uuid4

from service.errors import Invalid, TooLarge
from service.lifecycle.upload import Upload
from spezia.contract.model_files import Artifact
from spezia.contract.model_rules import FILE_NAME
from spezia.contract.problem import FieldProblem

MAX_FILES = 500
"""Largest number of files of a model; weights in pieces of 5 GB are 140 for the largest that there are."""
MAX_TEXT_BYTES = 256 * 2**20
"""Size of the largest file that is not weights: a tokenizer's, of some 30 MB at most today."""
_LIMIT = "SPEZIA_MAX_MODEL_BYTES"


class ModelUpload:
    """Takes a tar in, piece by piece, and writes its files into a hidden folder. Whoever makes one discards it at last.

    Nothing of the tar is believed: it may hold plain files with the names that files of a model have, in one folder or
    in none. Each method may wait for the disk.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.path = folder / f".{uuid4().hex}"
        self.files: dict[str, Artifact] = {}
        """The files that are whole, by their names."""
        self._bytes_left = max_bytes
        self._max_bytes = max_bytes
        self._header = bytearray()
        self._folder: str | None = None
        self._name = ""
        self._file: Upload | None = None
        self._n_content = 0
        self._n_padding = 0
        self._is_over = False

    def write(self, piece: bytes) -> None:
        """Take the next bytes of the tar in.

        Raises:
            Invalid: They are no tar of a model.
            TooLarge: The model has more than ``max_bytes``, or a file of it more than it may have.
            Unavailable: A file cannot be written, for want of space perhaps.
        """
        at = 0
        while at < len(piece):
            if self._file is not None:
                content = piece[at : at + self._n_content]
                self._file.write(content)
                self._n_content -= len(content)
                at += len(content)
                self._end_file()
            elif self._n_padding:
                n = min(self._n_padding, len(piece) - at)
                self._n_padding -= n
                at += n
            else:
                head = piece[at : at + tarfile.BLOCKSIZE - len(self._header)]
                self._header += head
                at += len(head)
                if len(self._header) == tarfile.BLOCKSIZE:
                    self._begin_member(bytes(self._header))
                    self._header.clear()

    def end(self) -> None:
        """Check that all has come.

        Raises:
            Invalid: It was cut off.
        """
        if not self._is_over or any(self._header):
            raise _invalid("the tar is cut off, or is none; send the whole archive, not compressed")

    def discard(self) -> None:
        """Remove what has not been kept."""
        if self._file is not None:
            self._file.discard()
        shutil.rmtree(self.path, ignore_errors=True)

    def _begin_member(self, header: bytes) -> None:
        if not any(header):
            self._is_over = True
            return
        if self._is_over:
            raise _invalid("something follows the end of the tar; send one archive")
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError):
            raise _invalid("this is no tar archive; send a tar of the model's files, not compressed") from None
        if member.isdir() and member.size == 0:
            return
        if not member.isreg() or member.size < 0:
            raise _invalid(f"{member.name!r} is no plain file; send the files themselves, in the format ustar or GNU")
        self._begin_file(self._name_of(member.name), member.size)

    def _name_of(self, path: str) -> str:
        folder, _, name = path.removeprefix("./").rpartition("/")
        if self._folder not in (None, folder) or "/" in folder or folder == "..":
            raise _invalid(f"{path!r} lies in another folder than the files before it; send the files of one folder")
        self._folder = folder
        if not FILE_NAME.fullmatch(name):
            raise _invalid(
                f"{name[:100]!r} is no file of a model; send weights (model.safetensors, or pieces with their index), "
                "config.json and the tokenizer's files as save_pretrained writes them, and nothing else"
            )
        if name in self.files:
            raise _invalid(f"{name} comes twice")
        if len(self.files) >= MAX_FILES:
            raise TooLarge(f"the model has more than {MAX_FILES} files; save it in larger pieces")
        return name

    def _begin_file(self, name: str, size_bytes: int) -> None:
        if size_bytes > self._bytes_left:
            raise TooLarge(f"the model is larger than {self._max_bytes} bytes ({_LIMIT}); send a smaller one")
        if size_bytes > MAX_TEXT_BYTES and not name.endswith(".safetensors"):
            raise TooLarge(f"{name} is larger than {MAX_TEXT_BYTES} bytes; only weights may be")
        self._bytes_left -= size_bytes
        self._name, self._n_content = name, size_bytes
        self._n_padding = -size_bytes % tarfile.BLOCKSIZE
        self._file = Upload(self.path, size_bytes, _LIMIT)
        self._end_file()

    def _end_file(self) -> None:
        if self._file is None or self._n_content:
            return
        size_bytes, sha256 = self._file.end()
        self._file.keep_as(self._name)
        self._file = None
        self.files[self._name] = Artifact(file=self._name, size_bytes=size_bytes, sha256=sha256)


def _invalid(message: str) -> Invalid:
    return Invalid(FieldProblem(field="body", message=message))
