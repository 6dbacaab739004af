"""What a worker found out about data and model before the first trial."""

from typing import Literal

from spezia.contract.wire import Count, Reply


class Similarity(Reply):
    """What the untouched checkpoint can do, measured before the first trial, and what follows for freezing."""

    metrics: dict[str, float]
    """Of a linear probe on frozen hidden states, on validation rows: ``probe_…``, what guessing gets, and
    ``skill``, the share of the way from guessing to perfection that the probe goes. Of causal-lm: the
    checkpoint's own ``validation_loss``."""
    suggestion: Literal["similar-task", "different-task"] | None
    """The preset that fits; null: it is in between, or cannot be told."""
    why: str


class Facts(Reply):
    """What a worker found out about data and model before the first trial."""

    train_rows: Count
    validation_rows: Count
    test_rows: Count | None
    classes: list[str]
    max_tokens: Count
    """Tokens of the longest example, after truncation."""
    truncated_rows: Count
    blocks: Count | None
    """Transformer blocks that can be frozen; null where the model cannot be split."""
    parameters: Count
    checkpoint_dropout: float | None
    """The checkpoint's own hidden dropout."""
    model_commit: str | None
    """The hub commit that all trials use; null for a directory or a carried copy."""
    model_sha256: str
    data_sha256: str
    precision: Literal["fp32", "bf16"]
    similarity: Similarity | None = None
    """Null where the study does not ask for it, or nothing can be told."""
    warnings: list[str] = []
