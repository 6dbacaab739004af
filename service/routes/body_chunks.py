"""Read bodies that are too large to be held in memory, piece by piece."""

from collections.abc import Iterator

from anyio import from_thread
from fastapi import Request


def body_chunks(request: Request) -> Iterator[bytes]:
    """Yield the body of a request as it comes in; to be iterated in a worker thread of anyio."""
    arriving = request.stream().__aiter__()

    async def next_chunk() -> bytes | None:
        return await anext(arriving, None)

    while (chunk := from_thread.run(next_chunk)) is not None:
        yield chunk
