"""One trial of ours against a plain loop of transformers and torch, written without any of our parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_linear_schedule_with_warmup,
)

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.data.batches import epoch_batches
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trial.seeds import derive_seed

BATCH_SIZE = 20
EPOCHS = 10
STEPS = 50
RATE = 5e-3


def plain_loop(
    root: Path,
    train: list[tuple[str, str]],
    orders: list[list[list[int]]],
    *,
    n_frozen: int = 0,
    criterion: torch.nn.CrossEntropyLoss,
) -> tuple[list[float], list[float]]:
    """Training loss of each step, and validation loss after it, with the embeddings and the first blocks frozen.

    ``criterion`` gives the gradients; the losses are transformers' own.
    """
    validation = tiny.make_examples(30, seed=2)
    tokenizer = AutoTokenizer.from_pretrained(root / "classifier")
    model = AutoModelForSequenceClassification.from_pretrained(
        root / "classifier", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, dtype=torch.float32
    )
    if n_frozen:
        model.bert.embeddings.requires_grad_(False)
        model.bert.encoder.layer[:n_frozen].requires_grad_(False)
    no_decay = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    decay = [p for p in model.parameters() if all(p is not other for other in no_decay)]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=5, num_training_steps=STEPS)

    def losses_of(examples: list[tuple[str, str]]) -> tuple[float, torch.Tensor]:
        inputs = tokenizer([text for text, _ in examples], padding=True, return_tensors="pt")
        labels = torch.tensor([tiny.CLASSES.index(label) for _, label in examples])
        output = model(**inputs, labels=labels)
        return output.loss.item(), criterion(output.logits, labels)

    train_losses, validation_losses = [], []
    for rows in (rows for order in orders for rows in order):
        model.train()
        train_loss, objective = losses_of([train[row] for row in rows])
        torch.autograd.backward(objective)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        train_losses.append(train_loss)
        model.eval()
        with torch.no_grad():
            validation_losses.append(losses_of(validation)[0])
    return train_losses, validation_losses


def orders_of(prepared: Prepared) -> list[list[list[int]]]:
    """The rows of each batch of each epoch of trial 3 by seed 7."""
    lengths_N = prepared.train.lengths_N
    return [
        [rows.tolist() for rows in epoch_batches(lengths_N, BATCH_SIZE, derive_seed("batches", 7, 3, epoch))]
        for epoch in range(EPOCHS)
    ]


PARAMS: dict[str, Any] = {
    "learning_rate": RATE,
    "batch_size": BATCH_SIZE,
    "epochs": EPOCHS,
    "dropout": 0.0,
    "weight_decay": 0.1,
    "warmup_ratio": 0.1,
}


@pytest.mark.parametrize(
    ("method", "n_frozen"),
    [({}, 0), ({"frozen_layers": 2}, 2), ({"method": "head_only"}, 3)],
    ids=["full", "frozen", "head_only"],
)
def test_a_trial_has_the_losses_of_a_plain_loop(
    pristine: Path, prepare_study: Prepare, method: dict[str, Any], n_frozen: int
) -> None:
    prepared = prepare_study(model={"name": "classifier"}, training={"evaluations_per_epoch": 5})
    config = TrialConfig.from_params(PARAMS | method)
    evaluations = list(fine_tune(prepared, config, seed=7, number=3, best=BestModel()))
    train_losses, validation_losses = plain_loop(
        pristine,
        tiny.make_examples(96, seed=1),
        orders_of(prepared),
        n_frozen=n_frozen,
        criterion=torch.nn.CrossEntropyLoss(),
    )
    assert len(evaluations) == len(train_losses) == STEPS
    ours = [evaluation.metrics for evaluation in evaluations]
    assert [metrics["train_loss"] for metrics in ours] == pytest.approx(train_losses, abs=1e-4)
    assert [metrics["validation_loss"] for metrics in ours] == pytest.approx(validation_losses, abs=1e-4)
    assert min(validation_losses) < (0.9 if n_frozen else 0.5) * validation_losses[0]  # it did learn something


def test_balanced_classes_have_the_losses_of_a_plain_loop(root: Path) -> None:
    rare = tiny.CLASSES[0]
    examples = [
        example for row, example in enumerate(tiny.make_examples(138, seed=1)) if example[1] != rare or row % 18 == 0
    ]
    tiny.write_csv(root / "train.csv", examples)
    overrides = {"evaluations_per_epoch": STEPS // EPOCHS, "class_weights": "balanced", "similarity": False}
    spec = tiny.make_spec(model={"name": "classifier"}, training=overrides)
    prepared = prepare(spec, roots=[root], device=tiny.CPU)
    evaluations = list(fine_tune(prepared, TrialConfig.from_params(PARAMS), seed=7, number=3, best=BestModel()))
    labels = [label for _, label in examples]
    weights = compute_class_weight("balanced", classes=np.array(tiny.CLASSES), y=labels)
    assert weights.max() > 5 * weights.min()
    criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32))
    train_losses, validation_losses = plain_loop(root, examples, orders_of(prepared), criterion=criterion)
    assert len(evaluations) == len(train_losses) == STEPS
    ours = [evaluation.metrics for evaluation in evaluations]
    assert [metrics["train_loss"] for metrics in ours] == pytest.approx(train_losses, abs=1e-4)
    assert [metrics["validation_loss"] for metrics in ours] == pytest.approx(validation_losses, abs=1e-4)
