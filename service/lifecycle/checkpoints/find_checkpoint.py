"""Find the checkpoint that a trial is to go on from (GET /v1/leases/{lease_id}/checkpoint)."""

from pathlib import Path

from service.errors import LeaseLost, NoCheckpoint
from service.lifecycle.checkpoints.upload_checkpoint import CHECKPOINT_FILE
from service.store import attempts, leases, sent_checkpoints
from service.store.store import Store


def find_checkpoint(store: Store, folder: Path, lease_id: str, token: str) -> Path:
    """Path of the checkpoint that the leased attempt at a trial goes on from.

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
    path = None if sent is None else folder / sent.lease_id / CHECKPOINT_FILE
    if path is None or not path.is_file():
        raise NoCheckpoint
    return path
