"""Scores a study's winner on the locked test split, once."""

import math
from pathlib import Path

import torch

from trainer.errors import ConfigError, Diverged
from trainer.model.device_memory import retry_with_free_memory
from trainer.train.evaluate import evaluate
from trainer.train.prepare import Prepared


def score(directory: Path, prepared: Prepared) -> dict[str, float]:
    """Return the scores of a saved model on the test split: ``test_loss`` (nats), ``test_accuracy``, …

    Args:
        directory: holds the model.

    Raises:
        ConfigError: the study has no test split, or the directory does not hold a model of its classes.
        Diverged: the test loss is not finite.
    """
    if prepared.test is None:
        raise ConfigError("data.test: the study has no test split to score on; name a file")
    try:
        model = prepared.task.model_class.from_pretrained(
            directory,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"the winner's model cannot be opened: {error}") from error
    names = tuple(name for _, name in sorted(model.config.id2label.items()))
    if prepared.task.class_names and names != prepared.task.class_names:
        raise ConfigError(f"the winner's model has other classes ({', '.join(names)}) than the study")
    retry_with_free_memory(lambda: model.to(prepared.device))
    scores = evaluate(model, prepared.task, prepared.test, prepared.facts.precision)
    if not math.isfinite(scores["loss"]):
        raise Diverged(f"the test loss is {scores['loss']}")
    return {f"test_{name}": value for name, value in scores.items()}
