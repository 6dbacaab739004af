"""Store the checkpoint of a paused trial that another worker waits for (PUT /v1/leases/{lease_id}/checkpoint)."""

from service.errors import LeaseLost, TooLarge
from service.failpoints import failpoint
from service.files.files import Files
from service.files.stored_file import StoredFile, lease_folder
from service.lifecycle.model_folders import too_late_leaves_nothing
from service.lifecycle.upload import Upload
from service.store import sent_checkpoints, studies
from service.store.sent_checkpoints import CheckpointRow
from service.store.store import Store
from service.store.transaction import Transaction

_LIMIT = "SPEZIA_SENT_CHECKPOINT_BYTES"


def begin_checkpoint(store: Store, files: Files, max_bytes: int, lease_id: str, token: str) -> Upload:
    """Return where to write a checkpoint, which may be as large as what is left of ``max_bytes``.

    Raises:
        LeaseLost: Nobody waits for the checkpoint any more.
    """
    with store.reading() as tx:
        _wanted(tx, lease_id, token)
        bytes_left = max_bytes - sent_checkpoints.used_bytes(tx)
    return Upload(files.scratch(lease_folder(lease_id)), max(0, bytes_left), _LIMIT)


def upload_checkpoint(store: Store, files: Files, upload: Upload, max_bytes: int, lease_id: str, token: str) -> None:
    """Keep an upload as the checkpoint, and wake whoever waits for it; one that comes again changes nothing.

    Raises:
        LeaseLost: Nobody waits for the checkpoint any more; nothing has changed.
        TooLarge: Others have come meanwhile, beside which it has no room.
        Unavailable: The file cannot be written, for want of space perhaps; nothing has changed.
    """
    size_bytes, sha256 = upload.end()
    stored = checkpoint_file(lease_id, size_bytes, sha256)
    files.send(upload.path, stored)
    failpoint("checkpoint.after_write")
    with too_late_leaves_nothing(store, lease_id), store.writing() as tx:
        # looked for again under the lock of the study, whose deletion would need it
        if studies.lock_by_uuid(tx, _wanted(tx, lease_id, token).study_uuid) is None:
            raise LeaseLost
        if _wanted(tx, lease_id, token).sha256 is not None:
            return
        if sent_checkpoints.used_bytes(tx) + size_bytes > max_bytes:
            raise TooLarge(f"other checkpoints leave no room for this one within {max_bytes} bytes ({_LIMIT})")
        if not sent_checkpoints.accept(tx, lease_id, size_bytes, sha256):
            raise LeaseLost  # a reaper, which takes no lock, was faster
        files.keep(upload.path, stored)
        failpoint("checkpoint.before_commit")
    failpoint("checkpoint.after_commit")


def checkpoint_file(lease_id: str, size_bytes: int, sha256: str) -> StoredFile:
    """Return the file of a checkpoint, in the folder of the lease under which it was written."""
    return StoredFile(folder=lease_folder(lease_id), name="checkpoint", size_bytes=size_bytes, sha256=sha256)


def _wanted(tx: Transaction, lease_id: str, token: str) -> CheckpointRow:
    found = tx.ask(sent_checkpoints.find(lease_id, token))
    if found is None:
        raise LeaseLost
    return found
