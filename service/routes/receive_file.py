"""Bodies that are too large to be held in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from anyio import CancelScope
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from service.routes.threads import FOR_UPLOADS

PIECE_BYTES = 256 * 2**10
"""So much of a body is written at once, and is held in memory while it comes in."""


class Receives(Protocol):
    """What takes a body in, piece by piece; each method may wait for the disk."""

    def write(self, piece: bytes) -> None:
        """Take the next bytes in."""

    def discard(self) -> None:
        """Remove what has not been kept."""


@asynccontextmanager
async def receive_file(request: Request, upload: Receives) -> AsyncIterator[None]:
    """Take a body in as it comes, for the block to keep; what it does not keep is discarded.

    A thread is held only while a piece is written, so a slow sender costs none.
    """
    piece = bytearray()
    try:
        async for chunk in request.stream():
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                await FOR_UPLOADS.run(upload.write, bytes(piece))
                piece.clear()
        await FOR_UPLOADS.run(upload.write, bytes(piece))
        yield
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the whole file had come; send it again") from None
    finally:
        with CancelScope(shield=True):
            await FOR_UPLOADS.run(upload.discard)
