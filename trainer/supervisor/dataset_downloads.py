"""Brings data sets that were uploaded to the service to this machine. Imports no torch.

The engine knows no HTTP: in what it is handed, ``sha256:…`` has become the path of a file.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from spezia.common.write_durably import sync
from spezia.contract.assignments import Assignment
from spezia.contract.dataset import MEDIA_TYPES, PREFIX
from trainer.supervisor.client import ServiceUnavailable

Fetch = Callable[[str, Path], str]
"""Writes the data set of a hash to a path, and returns its media type."""


def with_local_data(assignment: Assignment, cache: Path, fetch: Fetch) -> Assignment:
    """Return the assignment with every uploaded data set as a file under ``cache``, downloaded where it is not.

    Raises:
        ServiceRefused: the service does not hand a data set out.
        ServiceUnavailable: what came does not have the hash that names it, or nothing came; to be tried again.
    """
    data = assignment.spec.data
    if data is None:
        return assignment
    named = {field: getattr(data, field) for field in ("train", "validation", "test")}
    uploaded = {field: name for field, name in named.items() if name is not None and name.startswith(PREFIX)}
    if not uploaded:
        return assignment
    local = {field: str(local_file(name.removeprefix(PREFIX), cache, fetch)) for field, name in uploaded.items()}
    spec = assignment.spec.model_copy(update={"data": data.model_copy(update=local)})
    return assignment.model_copy(update={"spec": spec})


def local_file(sha256: str, cache: Path, fetch: Fetch) -> Path:
    """Return the path of an uploaded data set under ``cache``, downloaded where it is not there.

    Raises:
        ServiceRefused: the service does not hand it out.
        ServiceUnavailable: what came does not have the hash that names it, or nothing came; to be tried again.
    """
    for form in MEDIA_TYPES:
        if (found_before := cache / f"{sha256}.{form}").exists():
            os.utime(found_before)  # by which a full cache knows what was used longest ago
            return found_before
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f".{sha256}.{uuid4().hex}"
    try:
        media_type = fetch(sha256, partial).partition(";")[0]
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ServiceUnavailable(f"the data set {PREFIX}{sha256} came as {found}")
        form = next(form for form, known in MEDIA_TYPES.items() if known == media_type)
        sync(partial)  # what has the name is whole, after a power cut too: nobody looks at its hash again
        return partial.replace(cache / f"{sha256}.{form}")
    finally:
        partial.unlink(missing_ok=True)
