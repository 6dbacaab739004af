"""What a worker found out about data and model when it prepared a study, before the first trial."""

from typing import Annotated, Literal

from pydantic import Field

from spezia.contract.step_times import StepTimes
from spezia.contract.wire import Count, Reply


class Similarity(Reply):
    """How close the task is to what the checkpoint has learnt already, measured while the first trials run."""

    metrics: dict[str, float]
    """Metrics of the untouched checkpoint on validation rows. For most tasks they are those of a linear probe on
    frozen hidden states (``probe_…``), those of guessing, and ``skill``, the share of the way from guessing to
    perfection that the probe covers; for causal-lm it is the checkpoint's own ``validation_loss``."""
    suggestion: Literal["similar-task", "different-task"] | None
    """Preset that suits the measure; null where it lies in between or cannot be judged."""
    why: str
    """The measure and its consequence for freezing, in words."""


class Facts(Reply):
    """What a worker found out about data and model before the first trial; all trials of the study share it."""

    train_rows: Count
    """Number of training rows."""
    validation_rows: Count
    """Number of validation rows."""
    test_rows: Count | None
    """Number of test rows; null where the study has no test data."""
    columns: dict[str, str] = {}
    """Name in the data of each column that is read, by the name that the task gives it."""
    classes: Annotated[list[str], Field(fail_fast=True)]
    """Names of the classes, in the order of the model's outputs; empty where the task has none."""
    max_tokens: Count
    """Length of the longest example in tokens, after truncation."""
    truncated_rows: Count
    """Number of rows that were truncated because they are longer than ``data.max_length``."""
    blocks: Count | None
    """Number of transformer blocks that can be frozen; null where the model has no list of blocks."""
    parameters: Count
    """Number of the model's parameters."""
    checkpoint_dropout: float | None
    """Dropout of hidden states in the checkpoint's own configuration; null where it names none."""
    model_commit: str | None
    """Commit on the hub that all trials use; null for a directory or for a copy carried by an installed package."""
    model_sha256: str
    """SHA-256 over names and contents of the files of weights, config and tokenizer."""
    data_sha256: str
    """SHA-256 over the rows of all splits, by which a worker notices that the data have changed."""
    precision: Literal["fp32", "bf16"]
    """Number format in which all trials of the study train."""
    padding_side: Literal["left", "right"] = "right"
    """Side on which texts are padded to the length of the longest in their batch, such that the model reads none of it;
    of no account for images."""
    similarity: Similarity | None = None
    """How close the task is to what the checkpoint has learnt already; null until it is measured, and where the study
    does not ask for it or it cannot be measured."""
    awaits_similarity: bool = False
    """Whether the similarity has yet to be measured, which a worker does while others train."""
    step_times: StepTimes | None = None
    """What trials of the study will take, from a few steps that were timed; null until they are, and where none could
    be."""
    awaits_step_times: bool = False
    """Whether steps have yet to be timed, which a worker does while others train. Under the pruner ``rungs``, which has
    to know what a pause takes, they are timed before the first trial."""
    warnings: Annotated[list[str], Field(fail_fast=True)] = []
    """What is unusual about the data or the model, with what to do about it."""

    @property
    def awaits_probe(self) -> bool:
        """Whether a worker has yet to measure something of the study while others train."""
        return self.awaits_similarity or self.awaits_step_times
