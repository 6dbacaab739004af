"""Store one file of a trial's model that a worker uploads (PUT /v1/leases/{lease_id}/artifacts/{file})."""

from pathlib import Path

from service.errors import LeaseLost
from service.failpoints import failpoint
from service.lifecycle.lock_lease import lock_lease
from service.lifecycle.upload import Upload
from service.store import artifacts, leases
from service.store.store import Store


def begin_model_file(store: Store, folder: Path, max_bytes: int, lease_id: str, token: str, file: str) -> Upload:
    """Return where to write one file of the model of a leased trial.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.reading() as tx:
        if tx.ask(leases.find(lease_id, token)) is None:
            raise LeaseLost
    return Upload((folder / lease_id / file).parent, max_bytes, "SPEZIA_MAX_ARTIFACT_BYTES")


def upload_model_file(store: Store, upload: Upload, lease_id: str, token: str, file: str) -> None:
    """Keep an upload as one file of a trial's model; it becomes visible when the trial's result is accepted.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
        Unavailable: The file cannot be written, for want of space perhaps; nothing has changed.
    """
    size_bytes, sha256 = upload.end()
    failpoint("upload.after_write")
    with store.writing() as tx:
        # the token is compared again, under the lock that a reaper would need, and held over the rename
        held = lock_lease(tx, lease_id, token)
        artifacts.add(tx, held, file, size_bytes, sha256)
        upload.keep_as(Path(file).name)
        failpoint("upload.before_commit")
    failpoint("upload.after_commit")
