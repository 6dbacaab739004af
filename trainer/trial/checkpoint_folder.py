"""Decides where checkpoints lie, which of them are whole, and when they go. Imports no torch.

    ROOT / study id / trial number / attempt / at-OPTIMIZER_STEPS / {state.pt, COMPLETE}

``COMPLETE`` is written last and the folder renamed after that: a checkpoint without it, or of another size than it
says, was cut short and does not count.
"""

import contextlib
import glob
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from spezia.common.write_durably import make_folder_durably, rename_durably, sync, write_durably
from spezia.contract.protocol import MAX_CHECKPOINTS, HeldCheckpoint
from spezia.contract.wire import Reply

STATE = "state.pt"
"""Name of the file that holds the state of a trial."""
MARKER = "COMPLETE"
"""Name of the file that makes a checkpoint whole."""
_FORMAT = 3
"""Number of the format; raised when older checkpoints cannot be read any more."""
_FREE_SHARE = 0.5
"""Share of the free disk that checkpoints may take where nothing else is said; their own bytes count as free."""
_KEEP_SECONDS = 7 * 24 * 3600.0
"""Age at which checkpoints are deleted: a trial that was interrupted for longer has most likely been finished
elsewhere."""

_LOG = logging.getLogger(__name__)


class Marker(Reply):
    """Content of the file ``COMPLETE``, which describes a whole checkpoint."""

    format: int = _FORMAT
    study_id: str
    number: int
    attempt: int
    step: int
    """Step of the last evaluation; 0: none was made."""
    optimizer_steps: int
    """Number of optimizer steps made."""
    loss: float = 0.0
    """Value of the last evaluation, with the sign that makes smaller better; 0 before the first."""
    is_paused: bool = False
    """Whether the trial was paused, and may never be wanted again; else it was interrupted, or runs."""
    versions: dict[str, str]
    """Versions of what computes: another one may not read the state, or go on with other numbers."""
    size_bytes: int
    """Size of ``state.pt``, in bytes."""
    crc32: int = 0
    """CRC-32 of the content of ``state.pt``."""
    written_at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of all trials in one folder, which workers of several machines may share."""

    root: Path
    max_bytes: int | None = None
    """Bytes that all of them together may take; ``None``: half of what is free without them."""

    def of_attempt(self, study_id: str, number: int, attempt: int) -> Path:
        """Return the folder that one attempt of a trial writes to, and nobody else."""
        return self._of_trial(study_id, number) / str(attempt)

    def held(self, versions: dict[str, str]) -> list[HeldCheckpoint]:
        """Return the furthest checkpoint of each trial that this software can go on from: those of interrupted trials,
        newest first, and then those of paused ones, most promising first.

        Args:
            versions: versions of what computes here; checkpoints of others do not count.
        """
        furthest: dict[tuple[str, int], Marker] = {}
        for marker in sorted(self._all(), key=lambda one: one.optimizer_steps):
            if marker.versions == versions:
                furthest[marker.study_id, marker.number] = marker
        interrupted = [one for one in furthest.values() if not one.is_paused]
        interrupted.sort(key=lambda one: one.written_at, reverse=True)
        paused = [one for one in furthest.values() if one.is_paused]
        return [
            HeldCheckpoint(study_id=one.study_id, number=one.number, attempt=one.attempt, step=one.step)
            for one in [*interrupted, *_most_promising_first(paused)][:MAX_CHECKPOINTS]
        ]

    def make_room(self, new: Marker) -> bool:
        """Delete checkpoints of paused trials, the least promising first, until ``new`` fits into ``max_bytes``.

        Returns:
            Whether it fits. Where that of a paused trial does not, nothing is deleted: all that is left is interrupted
            or more promising. That of an interrupted trial is written all the same, so whatever is paused goes.
        """
        others = [one for one in self._all() if (one.study_id, one.number) != (new.study_id, new.number)]
        used = sum(one.size_bytes for one in others)
        excess = used + new.size_bytes - self._limit(used)
        paused = _most_promising_first([one for one in (new, *others) if one.is_paused])
        superfluous = []
        while excess > 0 and paused and paused[-1] is not new:
            superfluous.append(paused.pop())
            excess -= superfluous[-1].size_bytes
        if excess > 0 and new.is_paused:
            return False
        for one in superfluous:
            _LOG.info("trial %d of study %s begins anew if it is resumed: there is no room", one.number, one.study_id)
            _delete(self.of_attempt(one.study_id, one.number, one.attempt) / _name(one))
        return excess <= 0

    def note_pause(self, study_id: str, number: int) -> None:
        """Let what is left of a trial that was paused without a new checkpoint make room, as that of a paused one.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        for folder in _find(self._of_trial(study_id, number), "*/at-*"):
            if marker := read_marker(folder):
                paused = marker.model_copy(update={"is_paused": True})
                with contextlib.suppress(FileNotFoundError):  # another worker has just deleted it
                    partial = folder / f".{uuid4().hex}"
                    write_durably(partial, [paused.model_dump_json().encode()])
                    rename_durably(partial, folder / MARKER)

    def forget(self, study_id: str, number: int) -> None:
        """Delete the checkpoints of a trial that has ended."""
        shutil.rmtree(self._of_trial(study_id, number), ignore_errors=True)

    def forget_study(self, study_id: str) -> None:
        """Delete the checkpoints of a study whose trials have all ended, paused ones without a word to a worker."""
        shutil.rmtree(self.root / study_id, ignore_errors=True)

    def tidy(self, now: float | None = None) -> None:
        """Delete the checkpoints of trials that nobody has come back to for a week."""
        oldest = (time.time() if now is None else now) - _KEEP_SECONDS
        for trial in _find(self.root, "*/[0-9]*"):
            with contextlib.suppress(FileNotFoundError):  # another worker has just deleted it
                if max(path.stat().st_mtime for path in (trial, *_find(trial, "*"))) < oldest:
                    _LOG.info("deleting the old checkpoints in %s", trial)
                    shutil.rmtree(trial, ignore_errors=True)

    def _of_trial(self, study_id: str, number: int) -> Path:
        return self.root / study_id / str(number)

    def _all(self) -> list[Marker]:
        return [marker for folder in _find(self.root, "*/*/*/at-*") if (marker := read_marker(folder))]

    def _limit(self, used: int) -> int:
        if self.max_bytes is not None:
            return self.max_bytes
        make_folder_durably(self.root)
        return int(_FREE_SHARE * (shutil.disk_usage(self.root).free + used))


def read_marker(folder: Path) -> Marker | None:
    """Return what a whole checkpoint says of itself; ``None``: the folder holds no whole one."""
    try:
        marker = Marker.model_validate_json((folder / MARKER).read_bytes())
        size_bytes = (folder / STATE).stat().st_size
    except (OSError, ValidationError):
        return None
    return marker if marker.format == _FORMAT and marker.size_bytes == size_bytes else None


def newest(folder: Path) -> tuple[Path, Marker] | None:
    """Return the furthest whole checkpoint in an attempt's ``folder``, and what it says of itself."""
    found = [(path, marker) for path in _find(folder, "at-*") if (marker := read_marker(path))]
    return max(found, key=lambda one: one[1].optimizer_steps, default=None)


@contextmanager
def begun(folder: Path) -> Iterator[Path]:
    """Yield a new folder to write a checkpoint of an attempt into; it is gone again unless it is committed."""
    partial = folder / f".{uuid4().hex}"
    make_folder_durably(partial)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def commit(partial: Path, marker: Marker) -> Path:
    """Make a checkpoint whole, give it its name, and only then delete what it replaces.

    Earlier checkpoints of the same trial go, those of earlier attempts too. A later attempt's stay: this one is then of
    a worker that has lost its lease without knowing it yet.

    Returns:
        The folder of the checkpoint.
    """
    write_durably(partial / MARKER, [marker.model_dump_json().encode()])
    sync(partial)
    attempt = partial.parent
    final = attempt / _name(marker)
    shutil.rmtree(final, ignore_errors=True)  # of an earlier run of this very attempt, with the same numbers
    rename_durably(partial, final)
    for old in (*_find(attempt.parent, "*/at-*"), *_find(attempt.parent, "*/.*")):
        if old != final and int(old.parent.name) <= marker.attempt:
            _delete(old)
    return final


def _name(marker: Marker) -> str:
    return f"at-{marker.optimizer_steps}"


def _most_promising_first(paused: Sequence[Marker]) -> list[Marker]:
    """Sort by the share of the study's paused trials at the same step that are better; of equals what is newer leads.

    Only such trials have values to compare: what is measured earlier is worse for that alone.
    """

    def badness(one: Marker) -> tuple[float, float]:
        peers = [peer.loss for peer in paused if (peer.study_id, peer.step) == (one.study_id, one.step)]
        return sum(loss < one.loss for loss in peers) / len(peers), -one.written_at

    return sorted(paused, key=badness)


def _delete(checkpoint: Path) -> None:
    """Delete a checkpoint, which is none any more before the first of its files goes."""
    with contextlib.suppress(OSError):  # another worker has just deleted it
        (checkpoint / MARKER).unlink()
    shutil.rmtree(checkpoint, ignore_errors=True)


def _find(folder: Path, pattern: str) -> list[Path]:
    """As ``Path.glob``, which raises when another worker deletes a folder meanwhile."""
    return [folder / name for name in glob.glob(pattern, root_dir=folder)]
