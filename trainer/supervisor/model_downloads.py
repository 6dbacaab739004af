"""Brings a pretrained model that was uploaded to the service to this machine. Imports no torch."""

import hashlib
import os
import shutil
from pathlib import Path
from uuid import uuid4

from spezia.common.write_durably import rename_durably, sync
from spezia.contract.assignments import Assignment
from spezia.contract.dataset import PREFIX
from spezia.contract.model_rules import FILE_NAME, identity
from spezia.contract.protocol import HeldLease
from trainer.supervisor.client import ServiceClient, ServiceUnavailable


def with_local_model(assignment: Assignment, cache: Path, client: ServiceClient) -> Assignment:
    """Return the assignment with an uploaded model as a folder in ``cache``, downloaded where it is not there yet.

    Raises:
        ServiceRefused: the service does not hand the model out.
        ServiceUnavailable: what came does not have the hash that names it, or nothing came; to be tried again.
    """
    model = assignment.spec.model
    if model is None or not model.name.startswith(PREFIX):
        return assignment
    folder = cache / model.name.removeprefix(PREFIX)
    if not folder.is_dir():
        lease = HeldLease(lease_id=assignment.lease_id, token=assignment.token)
        _download(lease, folder, client)
    os.utime(folder)
    local = model.model_copy(update={"name": str(folder)})
    return assignment.model_copy(update={"spec": assignment.spec.model_copy(update={"model": local})})


def _download(lease: HeldLease, folder: Path, client: ServiceClient) -> None:
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        for file in client.describe_pretrained(lease).files:
            # a name is what the service says, and a path is ours
            if not FILE_NAME.fullmatch(file.file):
                raise ServiceUnavailable(
                    f"the model {PREFIX}{folder.name} has a file {file.file!r}, which no model has"
                )
            client.fetch_pretrained_file(lease, file.file, partial / file.file)
            sync(partial / file.file)
        found = identity({path.name: _hash(path) for path in sorted(partial.iterdir())})
        if found != folder.name:
            raise ServiceUnavailable(f"the model {PREFIX}{folder.name} came as {found}")
        if not folder.is_dir():  # another worker may have been first
            rename_durably(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
