"""What a worker asks for work with."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.attempts import Asker
from spezia.contract.protocol import HeldCheckpoint


@dataclass(frozen=True)
class WorkRequest(Asker):
    """A worker that asks for work, and what decides which work it may have."""

    has_bf16: bool
    """Whether its device computes in bf16."""
    checkpoints: Sequence[HeldCheckpoint]
    """Checkpoints of trials within its reach, to go on from."""

    def held(self, study_uuid: str) -> dict[int, HeldCheckpoint]:
        """Return the checkpoints of a study's trials, by the number of the trial."""
        return {one.number: one for one in self.checkpoints if one.study_id == study_uuid}
