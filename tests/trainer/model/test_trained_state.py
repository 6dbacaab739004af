"""What a trial may change is listed once, by identity and not by name."""

import copy

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.trainer import tiny
from trainer.model.trained_state import trained_state


@pytest.fixture
def tied() -> PreTrainedModel:
    """A model whose embeddings are its output layer, too."""
    model = tiny.make_family("gpt2", AutoModelForCausalLM)
    assert model.lm_head.weight is model.transformer.wte.weight
    return model


def test_a_tensor_of_two_names_is_listed_once(tied: PreTrainedModel) -> None:
    names = trained_state(tied).keys()
    assert "transformer.wte.weight" in names
    assert "lm_head.weight" not in names
    assert names == dict(tied.named_parameters()).keys()


def test_a_frozen_tensor_is_listed_under_none_of_its_names(tied: PreTrainedModel) -> None:
    tied.transformer.wte.requires_grad_(False)
    assert trained_state(tied).keys() == dict(tied.named_parameters()).keys() - {"transformer.wte.weight"}


def test_what_is_listed_makes_another_model_the_same(tied: PreTrainedModel) -> None:
    tied.add_module("norm", nn.BatchNorm1d(4))
    other = copy.deepcopy(tied)
    for tensor in trained_state(tied).values():
        tensor.add_(1)
    other.load_state_dict(trained_state(tied), strict=False)
    torch.testing.assert_close(other.state_dict(), tied.state_dict(), rtol=0, atol=0)
