"""Stream a kept model as a tar archive (GET /v1/studies/{name}/best/model)."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from service.files.files import Files
from service.files.stored_file import StoredFile
from spezia.common.model_tar import END, tar_member


def tar_model(files: Files, model: Iterable[StoredFile], name: str) -> Iterator[bytes]:
    """Yield the bytes of a tar archive of a model's files, in a directory that is called ``name`` in it."""
    archive = _stream(files, model, name)
    next(archive)
    return archive


def _stream(files: Files, model: Iterable[StoredFile], name: str) -> Iterator[bytes]:
    now = int(time.time())
    with ExitStack() as stack:
        opened = [(file, stack.enter_context(files.reading(file))) for file in model]
        yield b""  # all are open: a better model may replace the folder while this one is on its way
        for file, pieces in opened:
            yield from tar_member(f"{name}/{file.name}", file.size_bytes, now, pieces)
        yield END
