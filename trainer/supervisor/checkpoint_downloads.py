"""Brings the checkpoint that a trial goes on from to this machine, where the engine finds it like one of its own.

Imports no torch.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from spezia.common.write_durably import sync
from spezia.contract.assignments import Assignment, TrialAssignment
from trainer.errors import CheckpointLost
from trainer.trial.checkpoint_folder import STATE, CheckpointFolder, begun, commit, newest
from trainer.trial.packed_checkpoint import unpack

Fetch = Callable[[Path], None]
"""Writes the checkpoint of the assignment to a path."""


def fetch_checkpoint(assignment: Assignment, folder: CheckpointFolder | None, fetch: Fetch) -> None:
    """Fetch the checkpoint that a trial goes on from into ``folder``, unless it was not sent or is there.

    Somebody waits for it, so it has room before those of paused trials.

    Raises:
        CheckpointLost: what came is not what was sent, or there is no folder for it.
        ServiceRefused: the service does not hand it out.
        ServiceUnavailable: nothing came; to be tried again.
        OSError: the disk is full, or cannot be written.
    """
    if not isinstance(assignment, TrialAssignment) or assignment.resume is None or assignment.resume.sent is None:
        return
    if folder is None:
        raise CheckpointLost("this worker keeps no checkpoints")
    resume, sent = assignment.resume, assignment.resume.sent
    of_attempt = folder.of_attempt(assignment.study_id, assignment.number, resume.attempt)
    here = newest(of_attempt)
    if here is not None and here[1].step == resume.step:
        return
    with begun(of_attempt) as partial:
        fetch(partial / STATE)
        with (partial / STATE).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sent.sha256:
            raise CheckpointLost(f"the checkpoint {sent.sha256} came as {found}")
        try:
            marker = unpack(partial / STATE).model_copy(update={"is_paused": False})
        except ValueError as error:
            raise CheckpointLost(str(error)) from error
        sync(partial / STATE)
        folder.make_room(marker)
        commit(partial, marker)
