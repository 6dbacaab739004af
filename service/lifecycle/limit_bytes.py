"""A limit on what a request sends, kept while it streams in."""

from collections.abc import Iterable, Iterator

from service.errors import TooLarge


def limit_bytes(chunks: Iterable[bytes], max_bytes: int, refusal: str) -> Iterator[bytes]:
    """Yield ``chunks`` as long as they have at most ``max_bytes`` together.

    Raises:
        TooLarge: They have more; it says ``refusal``.
    """
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise TooLarge(refusal)
        yield chunk
