"""Store one file of a trial's model that a worker uploads (PUT /v1/leases/{lease_id}/artifacts/{file})."""

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from service.errors import LeaseLost, Unavailable
from service.failpoints import failpoint
from service.lifecycle.limit_bytes import limit_bytes
from service.lifecycle.lock_lease import lock_lease
from service.store import artifacts, leases
from service.store.store import Store
from spezia.common.write_durably import make_folder_durably, rename_durably, write_durably


def upload_model_file(
    store: Store, folder: Path, max_bytes: int, lease_id: str, token: str, file: str, chunks: Iterable[bytes]
) -> None:
    """Store one file of a trial's model, whole or not at all; it becomes visible when the trial's result is accepted.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
        TooLarge: The file has more than ``max_bytes``.
        Unavailable: The file cannot be written, for want of space perhaps; nothing has changed.
    """
    with store.reading() as tx:
        if tx.ask(leases.find(lease_id, token)) is None:
            raise LeaseLost
    final = folder / lease_id / file
    partial = final.parent / f".{uuid4().hex}"
    refusal = f"the file is larger than {max_bytes} bytes (SPEZIA_MAX_ARTIFACT_BYTES)"
    try:
        make_folder_durably(final.parent)
        size_bytes, sha256 = write_durably(partial, limit_bytes(chunks, max_bytes, refusal))
        failpoint("upload.after_write")
        with store.writing() as tx:
            # the token is compared again, under the lock that a reaper would need, and held over the rename
            held = lock_lease(tx, lease_id, token)
            artifacts.add(tx, held, file, size_bytes, sha256)
            rename_durably(partial, final)
            failpoint("upload.before_commit")
        failpoint("upload.after_commit")
    except OSError as error:
        raise Unavailable(f"the service cannot store {file} under {folder}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
