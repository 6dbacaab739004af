"""POST /v1/leases/{lease_id}/release: a worker gives a trial back."""

from typing import Literal

from service.contract.study import Failure
from service.errors import LeaseLost
from service.lifecycle.take_back import take_back
from service.store import leases, studies
from service.store.transaction import Store

_FAILURES = {
    "preempted": Failure(failure_class="preempted", message="the worker was told to stop"),
    "bystander": Failure(failure_class="preempted", message="another trial broke the worker's process"),
    "disk_full": Failure(failure_class="disk_full", message="the worker's disk is full; free space there"),
}


def release(store: Store, lease_id: str, token: str, reason: Literal["preempted", "bystander", "disk_full"]) -> None:
    """Let another worker run the trial, without counting the attempt.

    Raises:
        LeaseLost: The lease is stale; nothing has changed.
    """
    with store.writing() as tx:
        held = leases.find(tx, lease_id, token)
        study = None if held is None else studies.lock_by_uuid(tx, held.study_uuid)
        ended = None if study is None else leases.end(tx, lease_id, token)
        if study is None or ended is None:
            raise LeaseLost
        take_back(tx, study, ended, _FAILURES[reason], is_counted=False)
