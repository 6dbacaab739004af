"""Accumulation changes memory, and nothing else."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from tests.trainer import tiny
from tests.trainer.written_rows import SINGLE, TAGGED, PrepareRows, Rows
from trainer.data.class_weights import ClassWeights
from trainer.model.dropout import set_dropout
from trainer.train.optimizer import make_optimizer, take_step
from trainer.train.prepare import Prepared
from trainer.train.train_step import accumulate_gradients
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 1e-3})


def train(prepared: Prepared, batch_size: int, micro_batch_size: int) -> tuple[list[float], PreTrainedModel]:
    """Losses and model after an epoch without dropout, rows in the order of the file."""
    model = prepared.pretrained.new_model(seed=0, number=0)
    set_dropout(model, 0.0)
    optimizer = make_optimizer(model, CONFIG, {})
    losses = []
    for start in range(0, len(prepared.train), batch_size):
        rows_B = np.arange(start, min(start + batch_size, len(prepared.train)))
        loss = accumulate_gradients(
            model.train(), prepared.task, prepared.train, rows_B, "fp32", micro_batch_size=micro_batch_size
        )
        take_step(optimizer, 1.0)
        optimizer.zero_grad()
        losses.append(float(loss))
    return losses, model


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """All but the keys' biases: they shift all scores of a query alike, so their gradient is rounding noise,
    which Adam divides by its own size."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("key.bias")}


@pytest.mark.parametrize("micro_batch_size", [8, 5, 1])
def test_accumulated_micro_batches_equal_one_batch(prepared: Prepared, micro_batch_size: int) -> None:
    whole_losses, whole = train(prepared, 32, 32)
    losses, model = train(prepared, 32, micro_batch_size)
    assert len(losses) == 3
    assert losses == pytest.approx(whole_losses, abs=1e-6)
    torch.testing.assert_close(weights(model), weights(whole), atol=2e-6, rtol=0)


def test_gradients_of_micro_batches_add_up(prepared: Prepared) -> None:
    gradients = []
    for micro_batch_size in (32, 8, 5):
        model = prepared.pretrained.new_model(seed=0, number=0).eval()
        accumulate_gradients(
            model, prepared.task, prepared.train, np.arange(32), "fp32", micro_batch_size=micro_batch_size
        )
        gradients.append([parameter.grad for parameter in model.parameters()])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-6, rtol=1e-4)


def test_loss_is_the_mean_over_the_effective_batch(prepared: Prepared) -> None:
    model = prepared.pretrained.new_model(seed=0, number=0).eval()
    rows_B = np.arange(7)
    loss = accumulate_gradients(model, prepared.task, prepared.train, rows_B, "fp32", micro_batch_size=3)
    alone = [
        float(accumulate_gradients(model, prepared.task, prepared.train, rows_B[i : i + 1], "fp32", micro_batch_size=1))
        for i in range(7)
    ]
    assert float(loss) == pytest.approx(np.mean(alone), abs=1e-6)


UNEQUAL: list[tuple[str, Rows]] = [
    ("text-classification", [*SINGLE, *({"text": f"word{n} word3", "label": "calm"} for n in range(8))]),
    ("token-classification", [*TAGGED, *({"tokens": ["word3"] * n, "tags": ["O"] * n} for n in range(1, 9))]),
]


@pytest.mark.parametrize(("task", "rows"), UNEQUAL)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_weighted_classes_are_those_of_torch_however_a_batch_is_cut(
    prepare_rows: PrepareRows, task: str, rows: Rows, label_smoothing: float
) -> None:
    prepared = prepare_rows(task, rows, rows, training={"class_weights": "balanced", "similarity": False})
    assert prepared.class_weights_C is not None
    weights = ClassWeights.of(prepared.class_weights_C, prepared.train, tiny.CPU)
    rows_B = np.arange(3, 14)
    model = prepared.pretrained.new_model(seed=0, number=0).eval()
    batch = prepared.train.collate(rows_B, tiny.CPU)
    logits = model(**batch.inputs).logits.flatten(0, -2)
    expected = cross_entropy(
        logits, batch.targets.flatten(), weight=weights.of_classes_C, label_smoothing=label_smoothing
    )
    torch.autograd.backward(expected)
    plain = cross_entropy(logits.detach(), batch.targets.flatten()).item()
    assert abs(plain - expected.item()) > 1e-3
    gradients = [parameter.grad for parameter in model.parameters()]
    for micro_batch_size in (11, 5, 1):
        model = prepared.pretrained.new_model(seed=0, number=0).eval()
        loss = accumulate_gradients(
            model,
            prepared.task,
            prepared.train,
            rows_B,
            "fp32",
            micro_batch_size=micro_batch_size,
            label_smoothing=label_smoothing,
            class_weights=weights,
        )
        torch.testing.assert_close(
            [parameter.grad for parameter in model.parameters()], gradients, atol=1e-6, rtol=1e-4
        )
        assert float(loss) == pytest.approx(plain, abs=1e-6)
