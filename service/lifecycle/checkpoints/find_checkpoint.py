"""Find the checkpoint that a trial is to go on from (GET /v1/leases/{lease_id}/checkpoint)."""

from service.errors import LeaseLost, NoCheckpoint
from service.files.files import Files
from service.files.stored_file import StoredFile
from service.lifecycle.checkpoints.upload_checkpoint import checkpoint_file
from service.store import attempts, leases, sent_checkpoints
from service.store.store import Store


def find_checkpoint(store: Store, files: Files, lease_id: str, token: str) -> StoredFile:
    """Return the checkpoint that the leased attempt at a trial goes on from; it is there.

    Raises:
        LeaseLost: The lease is stale.
        NoCheckpoint: It goes on from none that was sent, or the file is gone.
    """
    with store.reading() as tx:
        held = tx.ask(leases.find(lease_id, token))
        if held is None:
            raise LeaseLost
        resume = attempts.resume_of(tx, held)
        sent = None if resume is None else sent_checkpoints.come_of(tx, held.study_uuid, held.number, resume.attempt)
    if sent is None or sent.size_bytes is None or sent.sha256 is None:
        raise NoCheckpoint
    found = checkpoint_file(sent.lease_id, sent.size_bytes, sent.sha256)
    if not files.has(found):
        raise NoCheckpoint
    return found
