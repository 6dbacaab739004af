"""PUT /v1/leases/{lease_id}/artifacts/{file} and …/log: what a trial leaves behind comes in."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from service.errors import LeaseLost, Unavailable
from service.failpoints import failpoint
from service.store import artifacts, leases, studies
from service.store.leases import Lease
from service.store.transaction import Store, Transaction


def upload(store: Store, folder: Path, lease_id: str, token: str, file: str, chunks: Iterable[bytes]) -> None:
    """Store one file, whole or not at all; it becomes visible when the trial's result is accepted.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
        Unavailable: The file cannot be written, for want of space perhaps; nothing has changed.
    """
    with store.reading() as tx:
        if leases.find(tx, lease_id, token) is None:
            raise LeaseLost
    final = folder / lease_id / file
    partial = final.parent / f".{uuid4().hex}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        size_bytes, sha256 = write_durably(partial, chunks)
        failpoint("upload.after_write")
        with store.writing() as tx:
            # the token is compared again, under the lock that a reaper would need, and held over the rename
            held = _hold(tx, lease_id, token)
            artifacts.add(tx, held, file, size_bytes, sha256)
            partial.replace(final)
            sync(final.parent)
            failpoint("upload.before_commit")
        failpoint("upload.after_commit")
    except OSError as error:
        raise Unavailable(f"the service cannot store {file} under {folder}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def append_log(store: Store, lease_id: str, token: str, text: str) -> None:
    """Append lines to the trial's log.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.writing() as tx:
        artifacts.append_log(tx, _hold(tx, lease_id, token), text)


def _hold(tx: Transaction, lease_id: str, token: str) -> Lease:
    held = leases.find(tx, lease_id, token)
    study = None if held is None else studies.lock_by_uuid(tx, held.study_uuid)
    renewed = None if study is None else leases.renew(tx, lease_id, token)
    if renewed is None:
        raise LeaseLost
    return renewed


def write_durably(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write a new file, so that a power cut cannot take it back; its size in bytes and its SHA-256."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size_bytes, digest.hexdigest()


def sync(directory: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
