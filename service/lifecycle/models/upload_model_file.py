"""Store one file of a trial's model that a worker uploads (PUT /v1/leases/{lease_id}/artifacts/{file})."""

from service.errors import LeaseLost
from service.failpoints import failpoint
from service.files.files import Files
from service.files.stored_file import StoredFile, lease_folder
from service.lifecycle.lock_lease import lock_lease
from service.lifecycle.model_folders import too_late_leaves_nothing
from service.lifecycle.upload import Upload
from service.store import artifacts, leases
from service.store.store import Store


def begin_model_file(store: Store, files: Files, max_bytes: int, lease_id: str, token: str) -> Upload:
    """Return where to write one file of the model of a leased trial.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.reading() as tx:
        if tx.ask(leases.find(lease_id, token)) is None:
            raise LeaseLost
    return Upload(files.scratch(lease_folder(lease_id)), max_bytes, "SPEZIA_MAX_ARTIFACT_BYTES")


def upload_model_file(store: Store, files: Files, upload: Upload, lease_id: str, token: str, file: str) -> None:
    """Keep an upload as one file of a trial's model; it becomes visible when the trial's result is accepted.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
        Unavailable: The file cannot be written, for want of space perhaps; nothing has changed.
    """
    size_bytes, sha256 = upload.end()
    stored = StoredFile(folder=lease_folder(lease_id), name=file, size_bytes=size_bytes, sha256=sha256)
    files.send(upload.path, stored)
    failpoint("upload.after_write")
    with too_late_leaves_nothing(store, lease_id), store.writing() as tx:
        # the token is compared again, under the lock that a reaper would need, and held until the file has its place
        held = lock_lease(tx, lease_id, token)
        artifacts.add(tx, held, file, size_bytes, sha256)
        files.keep(upload.path, stored)
        failpoint("upload.before_commit")
    failpoint("upload.after_commit")
