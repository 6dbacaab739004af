"""Saves a trial's state to disk, so that an interrupted trial goes on where it was and ends with the same numbers.

Saved are the weights that train, the optimizer, where the trial is, the training losses since the last evaluation and
the best model so far. The schedule, the batches and the random state follow from the optimizer step, each from its own
seed, so the number of the step is all there is to keep of them. What is frozen, and embeddings of tokens that the study
does not have, come from the pretrained model.
"""

import logging
import pickle
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from spezia.common.write_durably import durable_file
from spezia.contract.assignments import Resume
from trainer.errors import CheckpointLost
from trainer.model.best_model import BestModel
from trainer.model.pretrained import Pretrained
from trainer.model.trained_state import trained_state
from trainer.train.optimizer import load_optimizer
from trainer.train.pause_costs import PauseCosts
from trainer.train.progress import Progress
from trainer.trial import checkpoint_folder
from trainer.trial.checkpoint_folder import STATE, CheckpointFolder, Marker

CHECKPOINT_SECONDS = 600.0
"""Time after which the next evaluation is followed by a checkpoint: a worker that is killed loses little more."""

_TIMED_BYTES = 64 * 2**20
"""Bytes by which it is judged how long a checkpoint takes: of a large model a whole one takes minutes."""

_LOG = logging.getLogger(__name__)


class Preempted(Exception):
    """The trial was asked to stop or to pause, and has written a checkpoint unless training again is cheaper."""


@dataclass(frozen=True)
class TrialState:
    """All that a trial's next step depends on, besides its study, params, seed and number."""

    pretrained: Pretrained
    """What the model was made of."""
    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    progress: Progress
    """The last evaluation, and which was best."""
    best: BestModel
    """Weights of the best evaluation."""
    losses: list[torch.Tensor]
    """Training losses of the steps since the last evaluation, scalars."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one attempt of a trial."""

    folder: CheckpointFolder
    study_id: str
    number: int
    attempt: int
    versions: dict[str, str]
    """Versions of what computes, by name."""
    resume: Resume | None
    """The checkpoint from which the trial goes on; ``None``: it begins anew."""
    is_stop_wanted: Callable[[], bool]
    """Whether the trial is to stop as soon as it is saved."""
    is_pause_wanted: Callable[[], bool] = lambda: False
    """Whether the trial, which was evaluated just now, is to pause."""
    every_seconds: float = CHECKPOINT_SECONDS
    """Time after which the next evaluation is followed by a checkpoint."""
    costs: PauseCosts = field(default_factory=PauseCosts)
    """What earlier checkpoints took."""

    def restore(self, state: TrialState) -> int:
        """Fill ``state`` from the checkpoint to go on from.

        Returns:
            The number of optimizer steps that have been made; 0 where the trial begins anew.

        Raises:
            CheckpointLost: the checkpoint is not there any more, or cannot be read.
        """
        if self.resume is None:
            return 0
        started = time.monotonic()
        source = self.folder.of_attempt(self.study_id, self.number, self.resume.attempt)
        found = checkpoint_folder.newest(source)
        if found is None or found[1].step != self.resume.step:
            raise CheckpointLost(f"no checkpoint of step {self.resume.step} is in {source} any more")
        path, marker = found
        _fill(state, _read(path / STATE, marker.crc32, state.model.device))
        self.costs.note_loaded(marker.size_bytes, time.monotonic() - started)
        _LOG.info("going on after step %d, %d optimizer steps", marker.step, marker.optimizer_steps)
        return marker.optimizer_steps

    def save(self, state: TrialState, *, optimizer_steps: int) -> None:
        """Write a checkpoint of a trial that is interrupted or goes on, whole or not at all, and delete those that it
        replaces; those of paused trials make room for it.

        Args:
            optimizer_steps: number of optimizer steps made.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        contents = _contents(state)
        marker = self._marker(state, contents, optimizer_steps, is_paused=False)
        self.folder.make_room(marker)
        self._write(contents, marker)

    def pause(self, state: TrialState, *, optimizer_steps: int, at_stake: float) -> None:
        """Write a checkpoint of a trial that is paused, unless training again is cheaper or there is no room.

        Args:
            optimizer_steps: number of optimizer steps made.
            at_stake: seconds that it would take to come here again without this checkpoint.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        contents = _contents(state)
        marker = self._marker(state, contents, optimizer_steps, is_paused=True)
        cost = self.costs.seconds(marker.size_bytes)
        if at_stake < cost:
            _LOG.info("not saved: training took %.2f s, and saving and loading would take %.2f s", at_stake, cost)
        elif not self.folder.make_room(marker):
            _LOG.info("not saved: the checkpoints of more promising trials take all the room")
        else:
            self._write(contents, marker)
            return
        self.folder.note_pause(self.study_id, self.number)

    def _marker(self, state: TrialState, contents: dict[str, Any], optimizer_steps: int, *, is_paused: bool) -> Marker:
        return Marker(
            study_id=self.study_id,
            number=self.number,
            attempt=self.attempt,
            step=state.progress.step,
            optimizer_steps=optimizer_steps,
            loss=state.progress.loss,
            is_paused=is_paused,
            versions=self.versions,
            size_bytes=_size_bytes(contents),
            written_at=time.time(),
        )

    def _write(self, contents: dict[str, Any], marker: Marker) -> None:
        started = time.monotonic()
        with checkpoint_folder.begun(self.folder.of_attempt(self.study_id, self.number, self.attempt)) as folder:
            with durable_file(folder / STATE) as file:
                torch.save(contents, file)
            size_bytes = (folder / STATE).stat().st_size
            written = {"size_bytes": size_bytes, "crc32": _crc32(folder / STATE)}
            checkpoint_folder.commit(folder, marker.model_copy(update=written))
        # By the size that is known before writing, which is what the next pause asks for
        self.costs.note_saved(marker.size_bytes, time.monotonic() - started)


class Watch:
    """Restores a trial when it begins, and decides between two of its optimizer steps whether it is saved.

    Without ``checkpoints`` it does nothing.
    """

    def __init__(self, checkpoints: Checkpoints | None, state: TrialState) -> None:
        """Restore ``state``.

        Raises:
            CheckpointLost: the checkpoint to go on from is not there any more, or cannot be read.
        """
        self._checkpoints = checkpoints
        self._state = state
        self.optimizer_steps = checkpoints.restore(state) if checkpoints else 0
        """Those that had been made when the trial was interrupted."""
        self._saved_at = time.monotonic()

    def look(self, *, optimizer_steps: int) -> None:
        """Save the trial if it is to stop or to pause, or if it was evaluated just now and the last time is long ago.

        Args:
            optimizer_steps: number of optimizer steps made.

        Raises:
            Preempted: the trial was asked to stop or to pause.
        """
        if self._checkpoints is None:
            return
        unsaved_seconds = time.monotonic() - self._saved_at
        is_due = unsaved_seconds >= self._checkpoints.every_seconds and not self._state.losses
        if self._checkpoints.is_pause_wanted():
            self._checkpoints.pause(self._state, optimizer_steps=optimizer_steps, at_stake=unsaved_seconds)
            raise Preempted
        is_stop_wanted = self._checkpoints.is_stop_wanted()
        if optimizer_steps and (is_stop_wanted or is_due):
            self._checkpoints.save(self._state, optimizer_steps=optimizer_steps)
            self._saved_at = time.monotonic()
        if is_stop_wanted:
            raise Preempted


def seconds_to_pause(state: TrialState, folder: Path) -> float:
    """Return the seconds in which ``state`` would be saved and restored, by those of a part of it.

    Args:
        folder: an empty one, where the part is written.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    contents = _contents(state)
    tensors = _tensors(contents)
    ends = accumulate(one.nbytes for one in tensors)
    part = [one for one, end in zip(tensors, ends, strict=True) if end - one.nbytes < _TIMED_BYTES]
    started = time.monotonic()
    with durable_file(folder / STATE) as file:
        torch.save(part, file)
    crc32 = _crc32(folder / STATE)
    for one, saved in zip(part, _load(folder / STATE, crc32), strict=True):
        saved.to(one.device)
    share = sum(one.nbytes for one in part) / sum(one.nbytes for one in tensors)
    return (time.monotonic() - started) / share


def _contents(state: TrialState) -> dict[str, Any]:
    trained = trained_state(state.model)
    is_best = state.progress.is_best and not state.losses  # not a step was made since
    return {
        "model": trained,
        "optimizer": state.optimizer.state_dict(),
        "progress": state.progress.state_dict(),
        # The same tensors are written once
        "best": trained if is_best else state.best.state_dict(),
        # As one tensor: 20,000 of them by themselves take 0.8 s to save and 1.7 s to read, together 0.02
        "losses": torch.stack(state.losses) if state.losses else torch.empty(0),
    }


def _size_bytes(contents: dict[str, Any]) -> int:
    """About the size of the file: that of its tensors."""
    return sum(one.nbytes for one in _tensors(contents))


def _tensors(contents: dict[str, Any]) -> list[torch.Tensor]:
    """All large tensors of a checkpoint, each once."""
    moments = (tensor for of_parameter in contents["optimizer"]["state"].values() for tensor in of_parameter.values())
    return list({id(one): one for one in (*contents["model"].values(), *contents["best"].values(), *moments)}.values())


def _read(file: Path, crc32: int, device: torch.device) -> dict[str, Any]:
    contents: dict[str, Any] = _load(file, crc32)
    contents["losses"] = contents["losses"].to(device)
    return contents


def _load(file: Path, crc32: int) -> Any:
    try:
        if _crc32(file) != crc32:
            raise CheckpointLost(f"{file} is damaged: its content is not what was written")
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointLost(f"{file} cannot be read: {error}") from error


def _crc32(file: Path) -> int:
    """Return the CRC-32 of a file's content: 1.5 GB/s, three times as fast as SHA-256, and enough against disks and
    networks that err."""
    with file.open("rb") as content:
        return reduce(lambda crc32, chunk: zlib.crc32(chunk, crc32), iter(partial(content.read, 2**20), b""), 0)


def _fill(state: TrialState, contents: dict[str, Any]) -> None:
    try:
        state.model.load_state_dict(contents["model"], strict=False)
    except RuntimeError as error:
        raise CheckpointLost(f"the checkpoint is of a model of another shape: {error}") from error
    load_optimizer(state.optimizer, contents["optimizer"])
    state.progress.load_state_dict(contents["progress"])
    state.best.restore(state.pretrained, state.model, contents["best"])
    state.losses[:] = contents["losses"].unbind()
