"""How long a few real steps took when a study began, from which follows what the study will cost."""

from typing import Annotated

from pydantic import Field

from spezia.contract.wire import Count, Reply, Text

Seconds = Annotated[float, Field(ge=0, le=1e9)]
"""A time in seconds, less than a lifetime."""


class KindTimes(Reply):
    """Device seconds of trials of one kind at one batch size."""

    method: Text
    """Value of the hyperparameter ``method``."""
    frozen_blocks: Count
    """Number of blocks that stay frozen for the whole trial."""
    gradient_checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)]
    """Examples per optimizer step."""
    start_seconds: Seconds = 0.0
    """Seconds before the first step: making model and optimizer, opening the trunk cache."""
    epoch_seconds: Seconds | None
    """Seconds of one pass over the training rows, from the steps that were timed; null where not even a single row fits
    into memory."""
    evaluation_seconds: Seconds = 0.0
    """Seconds of one evaluation on the validation rows, from the rows that were timed."""
    pause_seconds: Seconds = 0.0
    """Seconds in which the checkpoint of a paused trial is written and read, without making its model again; 0 where
    trials do not pause."""
    fill_seconds: Seconds = 0.0
    """Seconds in which the first trial of this number of frozen blocks fills the trunk cache."""


class StepTimes(Reply):
    """What a worker has timed at the beginning of a study."""

    device: Text
    """Name of the worker's device."""
    kinds: Annotated[list[KindTimes], Field(fail_fast=True)]
    """Kinds of trials, those that take longest first, each at the smallest and the largest batch of the search space.
    The last kinds are missing where there was no time for them."""
    load_seconds: Seconds
    """Seconds in which a worker loads data and model before its first trial of the study."""
    peak_memory_bytes: Count
    """Most memory that was taken: on CUDA by tensors on the device, else by the worker's process, which may have taken
    it for an earlier study."""
