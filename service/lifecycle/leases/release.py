"""Take a trial back from a worker that gives it up (POST /v1/leases/{lease_id}/release)."""

from service.errors import LeaseLost
from service.failpoints import failpoint
from service.lifecycle.leases.take_back import take_back
from service.store import artifacts, leases, sent_checkpoints, studies, trials
from service.store.store import Store
from spezia.contract.failure import Failure
from spezia.contract.protocol import Release, ReleaseReason

_FAILURES: dict[ReleaseReason, Failure] = {
    "preempted": Failure(failure_class="preempted", message="the worker was told to stop"),
    # of a trial that was told to pause nothing is said: it is paused
    "paused": Failure(failure_class="preempted", message="the worker paused the trial, though it was not told to"),
    "bystander": Failure(failure_class="preempted", message="another trial broke the worker's process"),
    "disk_full": Failure(failure_class="disk_full", message="the worker's disk is full; free space there"),
    "checkpoint_lost": Failure(failure_class="preempted", message="the checkpoint to resume from could not be read"),
}


def release(store: Store, lease_id: str, token: str, released: Release) -> None:
    """End a lease so that another worker runs the trial; the attempt does not count.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.writing() as tx:
        study_id = studies.lock_by_lease(tx, lease_id, token)
        if study_id is None:
            raise LeaseLost
        study, ended = tx.ask(studies.by_id(tx.caches.studies, study_id), leases.end(lease_id, token))
        if study is None or ended is None:
            raise LeaseLost
        if ended.kind == "trial" and released.reason == "checkpoint_lost":
            artifacts.drop_folders(tx, sent_checkpoints.take_of_trial(tx, ended.study_uuid, ended.number))
        if ended.kind == "trial":
            has_checkpoint, speed = released.has_checkpoint, released.speed
            trials.note_pause(tx, study, ended.number, has_checkpoint=has_checkpoint, speed=speed)
        take_back(tx, study, ended, _FAILURES[released.reason], is_counted=False)
        failpoint("release.before_commit")
    failpoint("release.after_commit")
