"""The checkpoints within a worker's reach: which it offers, fetches, sends to others, and forgets. Imports no torch."""

from functools import partial

from spezia.contract.assignments import Assignment, ScoreAssignment, TrialAssignment
from spezia.contract.protocol import HeldCheckpoint, HeldLease, WantedCheckpoint
from trainer.supervisor.checkpoint_downloads import fetch_checkpoint
from trainer.supervisor.checkpoint_sender import CheckpointSender
from trainer.supervisor.client import ServiceClient
from trainer.trial.checkpoint_folder import CheckpointFolder


class OwnCheckpoints:
    """What a worker does with the folder of its engine's checkpoints. Without a folder there are none."""

    def __init__(self, folder: CheckpointFolder | None, client: ServiceClient) -> None:
        self._folder = folder
        self._client = client
        self._sender = CheckpointSender(client, folder) if folder else None

    @property
    def can_save(self) -> bool:
        """Whether a trial can be saved at all."""
        return self._folder is not None

    def start(self) -> None:
        """Delete what nobody has come back to, and send to others what they want until this process ends."""
        if self._folder and self._sender:
            self._folder.tidy()
            self._sender.start()

    def want(self, wanted: WantedCheckpoint) -> None:
        """Send a checkpoint that another worker waits for."""
        if self._sender:
            self._sender.want(wanted)

    def held(self, versions: dict[str, str]) -> list[HeldCheckpoint]:
        """Return what is offered to the service.

        Args:
            versions: versions of what the engine computes with; checkpoints of others do not count.
        """
        return self._folder.held(versions) if self._folder else []

    def has(self, assignment: Assignment, versions: dict[str, str]) -> bool:
        """Return whether a trial's checkpoint is offered: saving one may not have been worth it, or have failed."""
        if not isinstance(assignment, TrialAssignment):
            return False
        trial = (assignment.study_id, assignment.number)
        return any((one.study_id, one.number) == trial for one in self.held(versions))

    def fetch(self, assignment: Assignment, lease: HeldLease) -> None:
        """Fetch the checkpoint that a trial goes on from, unless it is here; raises as `fetch_checkpoint` does."""
        fetch_checkpoint(assignment, self._folder, partial(self._client.fetch_checkpoint, lease))

    def forget(self, assignment: Assignment) -> None:
        """Delete what nobody needs once an assignment has ended: of its trial or, after the score, of its study."""
        if self._folder and isinstance(assignment, TrialAssignment):
            self._folder.forget(assignment.study_id, assignment.number)
        if self._folder and isinstance(assignment, ScoreAssignment):
            self._folder.forget_study(assignment.study_id)
