"""Finds the images of a split: in a folder of class folders, at the paths that a table names, or inside a table."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from PIL import Image, ImageOps

from trainer.data.allowed_paths import find_allowed
from trainer.data.rows import BadRow
from trainer.errors import DataError

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class ImageFile:
    """An encoded image, on disk or in memory, which equals every other of the same content."""

    sha256: str
    """SHA-256 of the encoded image."""
    name: str = field(compare=False)
    """Name of the image in messages."""
    source: Path | bytes = field(compare=False, repr=False)
    """Path of the image, or the encoded image itself."""

    def open(self) -> Image.Image:
        """Decode the image to RGB, turned as its EXIF data says, as transformers' pipelines do.

        Raises:
            DataError: the image is broken, gone, or too large to be safe.
        """
        try:
            with Image.open(io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{self.name} is not a readable image ({error}); replace it or remove the row") from error


def find_image(value: Any, source: str, roots: Sequence[Path]) -> ImageFile:
    """Return the image of one row of the table ``source``, whose image column holds ``value``.

    Args:
        value: a path relative to the table, or a dictionary with ``bytes`` or ``path``.

    Raises:
        BadRow: there is no image, or its path lies outside the roots.
    """
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        content: bytes = value["bytes"]
        return ImageFile(hashlib.sha256(content).hexdigest(), str(value.get("path") or "the image"), content)
    if isinstance(value, dict):
        value = value.get("path")
    if not isinstance(value, str) or not value:
        raise BadRow("there is no image; give its path, relative to the table's folder")
    try:
        path = find_allowed(str(PurePath(source).parent / value), roots)
    except PermissionError as refused:
        raise BadRow(str(refused)) from None
    if path is None or not path.is_file():
        raise BadRow(f"there is no image {value}, looked for in the folder of the table; correct the path")
    return _from_file(path, value)


def read_class_folders(source: str, folder: Path, roots: Sequence[Path]) -> tuple[list[ImageFile], list[str]]:
    """Return the images below ``folder``, which holds one folder for each class, and the class of each.

    They come in the order of their names. Hidden files, and files without the suffix of an image, are passed over.

    Raises:
        DataError: no class folder holds an image, or an image lies outside the roots.
    """
    images, labels = [], []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for path in sorted(class_folder.iterdir()):
            if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
                continue
            try:
                allowed = find_allowed(str(path), roots)
            except PermissionError as refused:
                raise DataError(str(refused)) from None
            if allowed is not None and allowed.is_file():
                images.append(_from_file(allowed, f"{class_folder.name}/{path.name}"))
                labels.append(class_folder.name)
    if not images:
        raise DataError(f"{source} has no folders with images; make one folder for each class ({', '.join(_SUFFIXES)})")
    return images, labels


def _from_file(path: Path, name: str) -> ImageFile:
    with path.open("rb") as stream:
        return ImageFile(hashlib.file_digest(stream, "sha256").hexdigest(), name, path)
