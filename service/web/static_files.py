"""The files that pages load: under one hash of them all, so that browsers may keep them for good."""

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from service.errors import NotFound

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Kinds of file that are served."""
_FOREVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@cache
def _tree() -> tuple[str, dict[str, Path]]:
    """Return the hash of all files, and the files by their paths below the folder."""
    found = sorted(path for path in _FOLDER.rglob("*") if path.suffix in _MEDIA_TYPES)
    files = {path.relative_to(_FOLDER).as_posix(): path for path in found}
    whole = hashlib.sha256()
    for name, path in files.items():
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:16], files


def static_url(name: str) -> str:
    """Return the address of a file in `service/web/static/`.

    Raises:
        KeyError: There is no such file.
    """
    tree, files = _tree()
    if name not in files:
        raise KeyError(f"there is no file service/web/static/{name}")
    return f"/static/{tree}/{name}"


@router.get("/static/{tree}/{name:path}")
def get_static(tree: str, name: str) -> FileResponse:
    """Answer a file that pages are made of, for ever the same under its address."""
    current, files = _tree()
    if tree != current or name not in files:
        raise NotFound
    path = files[name]
    return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers={"Cache-Control": _FOREVER})
