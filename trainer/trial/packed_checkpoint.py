"""A checkpoint as one stream of bytes, so that a worker can send it to another one. Imports no torch.

    state.pt, then COMPLETE, then the length of COMPLETE in four bytes, the highest first

The state comes first, so that whoever receives it writes it where it will lie, and cuts off the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from trainer.trial.checkpoint_folder import STATE, CheckpointFolder, Marker, newest

_LENGTH_BYTES = 4
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class PackedCheckpoint:
    """A whole checkpoint that is to be sent."""

    state: Path
    """File of the state."""
    marker: Marker

    @property
    def size_bytes(self) -> int:
        """Bytes of the stream."""
        return self.marker.size_bytes + len(self._end())

    def chunks(self) -> Iterator[bytes]:
        """Yield the stream piece by piece.

        Raises:
            OSError: the checkpoint has been deleted meanwhile, or cannot be read.
        """
        with self.state.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
        yield self._end()

    def _end(self) -> bytes:
        marker = self.marker.model_dump_json().encode()
        return marker + len(marker).to_bytes(_LENGTH_BYTES)


def pack(folder: CheckpointFolder, study_id: str, number: int, attempt: int, step: int) -> PackedCheckpoint | None:
    """Return the checkpoint that an attempt at a trial wrote after ``step``; ``None``: it is not there any more."""
    found = newest(folder.of_attempt(study_id, number, attempt))
    if found is None or found[1].step != step:
        return None
    path, marker = found
    return PackedCheckpoint(path / STATE, marker)


def unpack(stream: Path) -> Marker:
    """Make the file of a received stream that of its state, and return its marker.

    Raises:
        ValueError: this is no such stream.
    """
    with stream.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LENGTH_BYTES))
        length = int.from_bytes(file.read(_LENGTH_BYTES))
        start = size - _LENGTH_BYTES - length
        if start < 0:
            raise ValueError(f"{stream} is no checkpoint")
        file.seek(start)
        try:
            marker = Marker.model_validate_json(file.read(length))
        except ValidationError as error:
            raise ValueError(f"{stream} is no checkpoint: its end is no marker") from error
        if marker.size_bytes != start:
            raise ValueError(f"{stream} has a state of {start} bytes, and {marker.size_bytes} were written")
        file.truncate(start)
    return marker
