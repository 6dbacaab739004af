"""Measures how similar a task is to what the model knows: how well a linear probe on its hidden states already does.

Features that separate the classes without any fine-tuning need little of it: most layers can stay frozen. Where they do
not, the model must change. Linear probes as a measure of what a representation holds: Alain and Bengio (2016),
arXiv:1610.01644.

B = rows of a batch, T = tokens of its longest row, H = hidden size, K = examples of the probe.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from spezia.contract.facts import Similarity
from trainer.data.subset import subset_rows
from trainer.data.tokenised_split import IGNORED, Batch, Split
from trainer.model.device import Precision, computes_in_bf16, scoring_tokens
from trainer.model.device_memory import retry_with_free_memory
from trainer.model.forward import bf16_problem, forward
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.tasks.causal_lm import CausalLm
from trainer.tasks.registry import AnyTask
from trainer.tasks.text_multi_label import f1_scores
from trainer.train.evaluate import evaluate
from trainer.train.linear_models import predict_classes, predict_numbers, predict_yes_or_no
from trainer.train.prepare import Prepared

_SIMILAR, _DIFFERENT = 0.75, 0.4
"""Skill from which on, and up to which, a preset is suggested. This is our judgement, without a study behind it: a
probe that goes three quarters of the way leaves little for the body to learn, one that goes less than 40 % needs other
features."""

_MAX_ROWS = 2_000
"""Largest number of rows that a split is probed on."""

PARAMETER_TOKENS = {"cpu": 4e11, "mps": 4e12, "cuda": 4e13}
"""Parameters times tokens that the probe may cost, by device: about 10 s on one CPU core (at 0.085 TFLOP/s, measured),
and less on a GPU. Above it fewer rows are taken."""


def measure_similarity(prepared: Prepared) -> Similarity | None:
    """Probe a new model of a study, such as its trials begin with; return ``None`` where nothing can be told."""
    seed = prepared.spec.seed
    model = retry_with_free_memory(lambda: prepared.pretrained.new_model(seed=seed, number=0).to(prepared.device))
    precision = _precision(model, prepared)
    return run_linear_probe(model, prepared.task, prepared.train, prepared.validation, precision, seed=seed)


def _precision(model: PreTrainedModel, prepared: Prepared) -> Precision:
    """Return the precision of the model on which a linear probe is trained: bf16 where the device is fast in it."""
    if isinstance(prepared.task, CausalLm) or not computes_in_bf16(model.device):
        return prepared.facts.precision
    return "fp32" if bf16_problem(model, prepared.train) else "bf16"


def run_linear_probe(
    model: PreTrainedModel, task: AnyTask, train: Split, validation: Split, precision: Precision, *, seed: int
) -> Similarity | None:
    """Probe an untouched ``model``, and leave it in eval mode. Its device decides how many rows are taken.

    Args:
        seed: draws the rows.

    Returns:
        What the probe found, or ``None`` where nothing can be told: hidden states that are not finite, or targets
        that are all alike.
    """
    budget = PARAMETER_TOKENS[model.device.type] / model.num_parameters()
    validation = _some(validation, budget / 3, seed)
    if isinstance(task, CausalLm):
        loss = evaluate(model, task, validation, precision)["loss"]
        return _of_language_model(loss) if math.isfinite(loss) else None
    train = _some(train, budget * 2 / 3, seed)
    model.eval()
    (seen_KH, targets), (new_KH, expected) = (_examples(model, split, precision) for split in (train, validation))
    if not np.isfinite(seen_KH).all() or not np.isfinite(new_KH).all() or (targets == targets[0]).all():
        return None
    return judge(_probe(seen_KH, targets, new_KH, expected))


def _some(split: Split, max_tokens: float, seed: int) -> Split:
    fraction = min(_MAX_ROWS / len(split), max_tokens / int(split.lengths_N.sum()))
    return split if fraction >= 1 else split.take(subset_rows(split, fraction, seed))


@torch.no_grad()
def _examples(
    model: PreTrainedModel, split: Split, precision: Precision
) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Features ``[K, H]`` and targets: of each row, or of each token that counts where tokens have targets."""

    def examples(rows_B: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        batch = split.collate(rows_B, model.device)
        hidden = _hidden(model, batch, precision)
        if len(split.targets) == len(split):
            return _mean(hidden, batch), batch.targets
        counted_BT = batch.targets != IGNORED
        return hidden[counted_BT], batch.targets[counted_BT]

    micro_batch = MicroBatchSize(scoring_tokens(model.device))
    features, targets = zip(*micro_batch.run_longest_first(examples, split.lengths_N), strict=True)
    return torch.cat(features).cpu().numpy(), torch.cat(targets).cpu().numpy()


def _hidden(model: PreTrainedModel, batch: Batch, precision: Precision) -> torch.Tensor:
    """What the body puts out on a whole pass: only the whole model knows what else some bodies must be given, such as
    what T5's decoder reads."""
    found: list[torch.Tensor] = []
    handle = model.base_model.register_forward_hook(lambda _body, _args, output: found.append(output[0]))
    try:
        forward(model, batch, precision)
    finally:
        handle.remove()
    return found[-1]


def _mean(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """``[B, H]``: the mean of hidden states ``[B, T, H]`` over tokens, or of feature maps ``[B, H, …]`` over pixels; a
    single state of a row is its own mean."""
    if hidden.ndim == 2:
        return hidden
    if hidden.ndim > 3:
        return hidden.flatten(2).mean(dim=2)
    mask = batch.inputs.get("attention_mask")
    if mask is None or mask.shape != hidden.shape[:2]:  # Funnel has fewer states than tokens
        return hidden.mean(dim=1)
    weights_BT1 = mask[..., None].float()
    return (hidden * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1)


def _probe(
    seen_KH: NDArray[np.float32],
    targets: NDArray[np.generic],
    new_KH: NDArray[np.float32],
    expected: NDArray[np.generic],
) -> dict[str, float]:
    """Train a linear model on some features, score it on others, and say how far it is from guessing."""
    if targets.ndim == 1 and np.issubdtype(targets.dtype, np.floating):
        r2 = _r2(expected.astype(np.float64), predict_numbers(seen_KH, targets, new_KH))
        return {"probe_r2": r2, "skill": r2}
    if targets.ndim == 2:
        f1, _ = f1_scores(expected.astype(np.int64), predict_yes_or_no(seen_KH, targets, new_KH))
        return {"probe_f1_micro": f1, "skill": f1}
    return _accuracies(targets, expected, predict_classes(seen_KH, targets, new_KH))


def _r2(expected_K: NDArray[np.float64], predicted_K: NDArray[np.float64]) -> float:
    """Return the share of the variance that is predicted, at most 1; 0 where all are alike, which tells nothing."""
    of_mean = float(np.square(expected_K - expected_K.mean()).sum())
    return 1 - float(np.square(expected_K - predicted_K).sum()) / of_mean if of_mean else 0.0


def _accuracies(
    targets: NDArray[np.generic], expected: NDArray[np.generic], predicted: NDArray[np.generic]
) -> dict[str, float]:
    names, counts = np.unique(targets, return_counts=True)
    majority = float(np.mean(expected == names[counts.argmax()]))
    accuracy = float(np.mean(expected == predicted))
    skill = (accuracy - majority) / (1 - majority) if majority < 1 else 0.0
    return {"probe_accuracy": accuracy, "majority_accuracy": majority, "skill": skill}


def judge(metrics: dict[str, float]) -> Similarity:
    """Return what a probe with these ``metrics`` suggests, and why in words."""
    skill = metrics["skill"]
    found = f"a linear probe on the untouched checkpoint goes {max(0.0, skill):.0%} of the way from guessing to perfect"
    if skill >= _SIMILAR:
        why = f"{found}: its features fit, so freezing most layers should cost little (preset similar-task)"
        return Similarity(metrics=metrics, suggestion="similar-task", why=why)
    if skill <= _DIFFERENT:
        why = f"{found}: its features fit badly, so few layers should be frozen (preset different-task)"
        return Similarity(metrics=metrics, suggestion="different-task", why=why)
    return Similarity(metrics=metrics, suggestion=None, why=f"{found}: let the search decide how much to freeze")


def _of_language_model(loss: float) -> Similarity:
    why = (
        f"the untouched checkpoint's validation loss is {loss:.3f} nats a token (perplexity {math.exp(loss):.4g}); how "
        "much of it can be gained depends on the texts, so nothing is suggested"
    )
    return Similarity(metrics={"validation_loss": loss}, suggestion=None, why=why)
