"""The validation loss is a property of model and split alone."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef
from transformers import PreTrainedModel

from trainer.data.tokenised_split import TokenisedSplit
from trainer.model.forward import forward
from trainer.tasks.text_classification import TextClassification
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


def test_metrics_of_a_model_that_sees_one_class_are_finite() -> None:
    scores = TextClassification().metrics([np.zeros(4, dtype=np.int64)], [np.array([0, 1, 2, 2])], loss=1.0)
    assert scores == pytest.approx({"accuracy": 0.25, "f1_macro": 0.4 / 3, "matthews": 0.0})


def test_batches_are_padded_on_the_right_to_their_longest_row(prepared: Prepared) -> None:
    split = prepared.train
    assert isinstance(split, TokenisedSplit)
    lengths_N = split.lengths_N
    rows_B = np.asarray([int(lengths_N.argmin()), int(lengths_N.argmax())])
    batch = prepared.train.collate(rows_B, torch.device("cpu"))
    short, long = (int(lengths_N[row]) for row in rows_B)
    assert batch.inputs["input_ids"].shape == batch.inputs["attention_mask"].shape == (2, long)
    assert batch.inputs["attention_mask"].sum(dim=1).tolist() == [short, long]
    assert batch.inputs["input_ids"][0, :short].tolist() == split.row(rows_B[0]).tolist()
    assert batch.inputs["input_ids"][0, short:].tolist() == [split.pad_id] * (long - short)
    assert batch.targets.tolist() == prepared.train.targets[rows_B].tolist()


def test_bf16_computes_in_half_precision_and_counts_in_full(model: PreTrainedModel, prepared: Prepared) -> None:
    batch = prepared.validation.collate(np.arange(8), torch.device("cpu"))
    model.eval()
    with torch.no_grad():
        full_BC, half_BC = forward(model, batch, "fp32"), forward(model, batch, "bf16")
    assert half_BC.dtype == full_BC.dtype == torch.float32
    assert not torch.equal(half_BC, full_BC)
    torch.testing.assert_close(half_BC, full_BC, atol=0.1, rtol=0.1)
