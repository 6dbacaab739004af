"""Answers that are uploaded files, from wherever those are kept."""

import re
from collections.abc import Iterator
from mimetypes import guess_type

from fastapi import Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from service.files.files import Files
from service.files.stored_file import StoredFile

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class StoredFileResponse(Response):
    """An uploaded file, or the range of it that the header `Range` names; at most one range, where it is in a bucket.

    Little of it is held in memory, and a thread only while a piece is read.
    """

    def __init__(self, files: Files, file: StoredFile, media_type: str | None = None) -> None:
        super().__init__(media_type=media_type or guess_type(file.name)[0] or "application/octet-stream")
        self._files = files
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file as ASGI asks for it."""
        path = self._files.local_path(self._file)
        response = (
            self._streamed(Headers(scope=scope)) if path is None else FileResponse(path, media_type=self.media_type)
        )
        await response(scope, receive, send)

    def _streamed(self, asked: Headers) -> Response:
        size_bytes, etag = self._file.size_bytes, f'"{self._file.sha256}"'
        headers = {"Accept-Ranges": "bytes", "ETag": etag}
        wanted = asked.get("range", "") if asked.get("if-range", etag) == etag else ""
        start, end = _bounds(wanted, size_bytes)
        if start >= end and wanted:
            return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size_bytes}"})
        headers["Content-Length"] = str(end - start)
        is_part = (start, end) != (0, size_bytes)
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
        return StreamingResponse(self._pieces(start, end), 206 if is_part else 200, headers, self.media_type)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        with self._files.reading(self._file, start, end) as pieces:
            yield from pieces


def _bounds(wanted: str, size_bytes: int) -> tuple[int, int]:
    """Where the one range of a header begins and ends; all of the file, where there is none or something else."""
    found = _RANGE.fullmatch(wanted)
    if found is None or not any(found.groups()):
        return 0, size_bytes
    first, last = found.groups()
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes
