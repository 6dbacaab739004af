"""Finds the images of a split: in a folder of class folders, at the paths that a table names, or inside a table."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from trainer.data.allowed_paths import find_allowed
from trainer.data.rows import BadRow
from trainer.errors import DataError

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


_DEEP = {"I;16": 65_535, "I;16B": 65_535, "I;16L": 65_535, "I;16N": 65_535, "I": 65_535, "F": 1}
"""White of Pillow's modes of more than 8 bits. It opens some files of 16 bits, such as PGM, as ``I`` of 32."""


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
        """Decode the image as `decode` does.

        Raises:
            DataError: it cannot be decoded.
        """
        try:
            return decode(self.source)
        except MemoryError:
            raise
        except Exception as error:  # decoders of broken files raise what they will: AVIF's a RuntimeError
            raise DataError(f"{self.name} is not a readable image ({error}); replace it or remove the row") from error


def decode(source: Path | bytes) -> Image.Image:
    """Decode an image to RGB of 8 bits, turned as its EXIF data says, as transformers' pipelines do.

    Of several pages or frames it is the first; transparency is dropped. Pixels of 16 bits are scaled from 0…65535,
    and those of floating-point images from 0…1.

    Raises:
        Exception: of whatever kind, where it is broken, gone, too large to be safe, or has pixels outside the range of
            their kind.
    """
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    white = _DEEP.get(image.mode)
    if white is None:
        return image.convert("RGB")
    # Pillow's own conversion cuts at 255, which leaves of 65,536 shades one
    shares = np.asarray(image, dtype=np.float64) / white
    low, high = float(shares.min()), float(shares.max())
    if not (low >= 0.0 and high <= 1.0):  # also where a pixel is not a number
        raise ValueError(
            f"its pixels, from {low * white:g} to {high * white:g}, do not lie in the range 0 to {white} of an image "
            f"of mode {image.mode}; scale them to it, or save it with 8 or 16 bits"
        )
    return Image.fromarray(np.round(shares * 255.0).astype(np.uint8)).convert("RGB")


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


def read_class_folders(
    source: str, folder: Path, roots: Sequence[Path]
) -> tuple[list[ImageFile], list[str], tuple[str, ...]]:
    """Return the images below ``folder``, which holds one folder for each class, the class of each, and a note of
    folders that hold none.

    They come in the order of their names. Hidden files, and files without the suffix of an image, are passed over.

    Raises:
        DataError: no class folder holds an image, or an image lies outside the roots.
    """
    images, labels, empty = [], [], []
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
        if class_folder.name not in labels[-1:] and not class_folder.name.startswith("_"):  # such as __MACOSX
            empty.append(class_folder.name)
    if not images:
        raise DataError(f"{source} has no folders with images; make one folder for each class ({', '.join(_SUFFIXES)})")
    return images, labels, _passed_over(source, empty)


def _passed_over(source: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    note = (
        f"{source}: {len(names)} folders have no images directly in them and are no classes ({listed}); put the images "
        f"of a class into its own folder, in one of the formats {', '.join(_SUFFIXES)}"
    )
    return (note,)


def _from_file(path: Path, name: str) -> ImageFile:
    with path.open("rb") as stream:
        return ImageFile(hashlib.file_digest(stream, "sha256").hexdigest(), name, path)
