"""What a study of one's own begins with where a person has not chosen: a model, a preset, a number of trials."""

from collections.abc import Mapping

from spezia.contract.tasks import Task

FEW_ROWS = 1_000
"""Number of training rows up to which the preset is taken that was measured with our small model on a few hundred."""

SMALL_DATA_ROWS = 5_000
"""Number of training rows from which on a preset for large data is taken, as docs/presets.md has it."""

MODELS: dict[Task, str] = {
    "text-classification": "sentence-transformers/all-MiniLM-L6-v2",
    "text-regression": "sentence-transformers/all-MiniLM-L6-v2",
    "token-classification": "sentence-transformers/all-MiniLM-L6-v2",
    "image-classification": "google/vit-base-patch16-224-in21k",
    "causal-lm": "HuggingFaceTB/SmolLM2-135M",
}
"""A small model to begin with for each task; that of the text tasks comes in a package and needs no hub."""

CHAT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""A small model with a chat template, which conversations need."""

N_TRIALS = 20
"""Number of trials that are advised for the three to six params that the presets search."""

EPOCHS = {
    "small-encoder-small-data": 20,
    "encoder-small-data": 10,
    "token-classification": 4,
    "image-classification": 5,
}
"""Default epochs of the presets that search so many numbers of epochs that a pruner has too few peers to compare."""


def preset_for(task: Task, n_rows: int, model: str | None = None) -> str:
    """Return the preset to begin with for a task and about so many training rows.

    Args:
        model: The pretrained model; ``None``: the one to begin with for the task.
    """
    if task == "text-classification" and n_rows < FEW_ROWS and model in (None, MODELS[task]):
        return "small-encoder-small-data"
    if task in ("text-classification", "text-regression"):
        return "encoder-small-data" if n_rows < SMALL_DATA_ROWS else "encoder-large-data"
    return "causal-lm-lora" if task == "causal-lm" else task


def model_for(task: Task, columns: Mapping[str, str]) -> str:
    """Return the model to begin with for a task and its columns."""
    return CHAT_MODEL if "messages" in columns else MODELS[task]
