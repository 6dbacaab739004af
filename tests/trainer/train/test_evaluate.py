"""The validation loss is a property of model and split alone."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef
from transformers import PreTrainedModel

from trainer.model.forward import forward
from trainer.train.evaluate import evaluate
from trainer.train.prepare import Prepared


@pytest.fixture(scope="module")
def model(prepared: Prepared) -> PreTrainedModel:
    return prepared.pretrained.new_model(seed=3, number=0)


def row_by_row(model: PreTrainedModel, prepared: Prepared) -> tuple[float, list[int]]:
    """Loss and predictions without any batching or padding."""
    split = prepared.validation
    total, predictions = 0.0, []
    model.eval()
    for row in range(len(split)):
        inputs = split.collate(np.array([row]), torch.device("cpu")).inputs
        with torch.no_grad():
            logits_C = model(input_ids=inputs["input_ids"]).logits[0].double()
        total -= float(logits_C.log_softmax(dim=0)[split.targets[row]])
        predictions.append(int(logits_C.argmax()))
    return total / len(split), predictions


def test_loss_is_the_mean_over_examples_in_nats(model: PreTrainedModel, prepared: Prepared) -> None:
    loss, predictions = row_by_row(model, prepared)
    scores = evaluate(model, prepared.task, prepared.validation, "fp32")
    labels = prepared.validation.targets.tolist()
    assert scores["loss"] == pytest.approx(loss, abs=1e-6)
    assert scores["accuracy"] == np.mean(np.equal(predictions, labels))
    assert scores["f1_macro"] == f1_score(labels, predictions, average="macro", zero_division=0)
    assert scores["matthews"] == matthews_corrcoef(labels, predictions)


@pytest.mark.parametrize("tokens", [None, 1, 60, 100, 300])
def test_loss_does_not_depend_on_batches_or_padding(
    model: PreTrainedModel, prepared: Prepared, tokens: int | None
) -> None:
    one_batch = evaluate(model, prepared.task, prepared.validation, "fp32", tokens=2**20)
    scores = evaluate(model, prepared.task, prepared.validation, "fp32", tokens=tokens)
    assert scores == pytest.approx(one_batch, abs=1e-6)


def test_evaluation_ignores_dropout_and_keeps_no_graph(model: PreTrainedModel, prepared: Prepared) -> None:
    first = evaluate(model.train(), prepared.task, prepared.validation, "fp32")
    assert evaluate(model.train(), prepared.task, prepared.validation, "fp32") == first
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_broken_model_has_a_loss_that_is_not_finite(prepared: Prepared) -> None:
    broken = prepared.pretrained.new_model(seed=0, number=0)
    torch.nn.init.constant_(broken.classifier.bias, math.nan)
    assert math.isnan(evaluate(broken, prepared.task, prepared.validation, "fp32")["loss"])


def test_bf16_computes_in_half_precision_and_counts_in_full(model: PreTrainedModel, prepared: Prepared) -> None:
    batch = prepared.validation.collate(np.arange(8), torch.device("cpu"))
    model.eval()
    with torch.no_grad():
        full_BC, half_BC = forward(model, batch, "fp32"), forward(model, batch, "bf16")
    assert half_BC.dtype == full_BC.dtype == torch.float32
    assert not torch.equal(half_BC, full_BC)
    torch.testing.assert_close(half_BC, full_BC, atol=0.1, rtol=0.1)
