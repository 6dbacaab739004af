"""Paths in a study file: relative ones are relative to its folder, and ``~`` and ``$HOME`` are the person's own."""

import re
from pathlib import Path
from typing import Any

_ELSEWHERE = ("hub://", "sha256:")
"""Beginnings of data names that are no paths."""
_URL = re.compile(r"^(https?|s3|gs|gcs|az|abfss?|file|ftp|hf)://", re.IGNORECASE)
_HOME = re.compile(r"^(~|\$HOME|\$\{HOME\})(?=/|$)")
_HUB_PAGE = re.compile(r"^https?://huggingface\.co/([\w.-]+/[\w.-]+)/?$")


class PathError(ValueError):
    """A path of a study that cannot be meant; the message says why and what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def with_absolute_paths(document: dict[Any, Any], folder: Path) -> dict[Any, Any]:
    """Return a study whose paths of data, model and script are absolute.

    Raises:
        PathError: A URL is given, or the folder of a model that does not exist.
    """
    document = dict(document)
    data, model = document.get("data"), document.get("model")
    if isinstance(data, dict):
        document["data"] = data | {
            split: _absolute(f"data.{split}", data[split], folder)
            for split in ("train", "validation", "test")
            if isinstance(data.get(split), str)
        }
    if isinstance(document.get("script"), str):
        document["script"] = _absolute("script", document["script"], folder)
    if isinstance(model, dict) and isinstance(model.get("name"), str):
        document["model"] = model | {"name": _model(model["name"], folder)}
    return document


def _absolute(field: str, name: str, folder: Path) -> str:
    if not name or name.startswith(_ELSEWHERE):
        return name
    if _URL.match(name):
        others = "" if field == "script" else ", or name a data set of the Hugging Face hub as hub://owner/name#split"
        raise PathError(field, f"{name} is a URL, not a file; download it and give its path{others}")
    return str(folder / _with_home(name))


def _model(name: str, folder: Path) -> str:
    if page := _HUB_PAGE.match(name):
        raise PathError("model.name", f"{name} is a URL; write {page[1]}, the name on the hub")
    if _URL.match(name):
        raise PathError("model.name", f"{name} is a URL; give a folder, or a name on the Hugging Face hub")
    place = folder / _with_home(name)
    if place.is_dir():
        return str(place)
    if _is_path(name, folder):
        raise PathError("model.name", f"the folder {place} does not exist; correct the path, or give a name on the hub")
    return str(place) if _HOME.match(name) or name.startswith("/") else name


def _is_path(name: str, folder: Path) -> bool:
    """Whether a relative name can only be a path: a name on the hub has at most one slash, and no folder of ours."""
    first, _, rest = name.partition("/")
    if name.startswith("/") or _HOME.match(name):
        return False  # it may exist where the workers are
    return first in (".", "..") or "/" in rest or (bool(rest) and (folder / first).is_dir())


def _with_home(name: str) -> str:
    return _HOME.sub(lambda _: str(Path.home()), name)
