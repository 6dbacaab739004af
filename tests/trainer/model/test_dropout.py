"""Every dropout of every known architecture, seen where torch is called."""

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from tests.trainer import tiny
from trainer.errors import ConfigError
from trainer.model.dropout import PLACES, check_dropout_known, checkpoint_dropout, set_dropout

SMALL: dict[str, Any] = {
    "vocab_size": 44,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}

N_DROPOUTS = {
    # embeddings 1, each of 2 blocks: attention weights, attention output, feed-forward output; classifier
    "bert": 1 + 2 * 3 + 1,
    "camembert": 1 + 2 * 3 + 2,
    # the relative embeddings, too
    "deberta-v2": 1 + 2 * (3 + 1) + 2,
    "distilbert": 1 + 2 * 2 + 1,
    "electra": 1 + 2 * 3 + 2,
    "gpt2": 1 + 2 * 3,
    # attention weights only
    "llama": 2,
    "modernbert": 1 + 2 * 3 + 1,
    "mpnet": 1 + 2 * 3 + 2,
    "qwen2": 2,
    "roberta": 1 + 2 * 3 + 2,
    "vit": 1 + 2 * 3,
    "xlm-roberta": 1 + 2 * 3 + 2,
}
OTHERS: dict[str, tuple[PreTrainedConfig, type[PreTrainedModel]]] = {
    "camembert": (CamembertConfig(**SMALL), CamembertForSequenceClassification),
    "mpnet": (MPNetConfig(**SMALL), MPNetForSequenceClassification),
    "xlm-roberta": (XLMRobertaConfig(**SMALL), XLMRobertaForSequenceClassification),
}
FAMILIES = tuple(N_DROPOUTS)
IDS_BT = torch.tensor([[2, 5, 6, 7, 3]])


class SeenDropouts(TorchFunctionMode):
    """Notes the probability of every dropout that torch is asked for, fused attention included."""

    def __init__(self) -> None:
        super().__init__()
        self.probabilities: list[float] = []

    def __torch_function__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if called is functional.dropout:
            training = options.get("training", args[2] if len(args) > 2 else True)
            p = options.get("p", args[1] if len(args) > 1 else 0.5)
            self.probabilities.append(p if training else 0.0)
        if called is functional.scaled_dot_product_attention:
            self.probabilities.append(options.get("dropout_p", 0.0))
        return called(*args, **options)


def make(family: str) -> PreTrainedModel:
    if family in OTHERS:
        return tiny.make_model(*OTHERS[family])
    auto_class = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    return tiny.make_family(family, auto_class, num_hidden_layers=2)


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    if model.config.model_type == "vit":
        logits_BC: torch.Tensor = model(pixel_values=torch.ones(1, 3, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)).logits
    else:
        logits_BC = model(input_ids=IDS_BT, attention_mask=torch.ones_like(IDS_BT)).logits
    return logits_BC


def test_every_listed_family_is_tested() -> None:
    assert N_DROPOUTS.keys() == PLACES.keys()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_probability_reaches_every_dropout(family: str, attention: str) -> None:
    model = make(family)
    if attention == "sdpa" and not model._supports_sdpa:
        pytest.skip("has only eager attention")
    model.set_attn_implementation(attention)
    set_dropout(model, 0.375)
    with SeenDropouts() as seen:
        logits_of(model.train())
    assert seen.probabilities == [0.375] * N_DROPOUTS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_0_makes_training_equal_to_evaluation(family: str) -> None:
    model = make(family)
    set_dropout(model, 0.0)
    assert torch.equal(logits_of(model.train()), logits_of(model.eval()))


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_drawn_in_train_mode(family: str) -> None:
    model = make(family)
    set_dropout(model, 0.5)
    assert not torch.equal(logits_of(model.train()), logits_of(model.train()))


def test_an_unknown_architecture_is_refused_by_name() -> None:
    config = AlbertConfig(**SMALL | {"embedding_size": 16})
    model = tiny.make_model(config, AlbertForSequenceClassification)
    with pytest.raises(ConfigError, match="the architecture 'albert'"):
        set_dropout(model, 0.1)
    with pytest.raises(ConfigError, match="the architecture 'albert'"):
        check_dropout_known(model)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("attention_dropout", 0.1), ("hidden_dropout", 0), ("late_dropout", nn.Identity()), ("path", nn.AlphaDropout())],
)
def test_a_place_that_is_not_listed_is_refused(attribute: str, value: Any) -> None:
    model = make("bert")
    setattr(model.bert.pooler, attribute, value)
    with pytest.raises(ConfigError, match=re.escape(f"BertPooler.{attribute}")):
        set_dropout(model, 0.1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (tiny.make_config(hidden_dropout_prob=0.25), 0.25),
        (DistilBertConfig(dropout=0.125), 0.125),
        (ModernBertConfig(), 0.0),
        (PreTrainedConfig(), None),
    ],
)
def test_the_checkpoint_states_its_own_dropout(config: PreTrainedConfig, expected: float | None) -> None:
    holder = nn.Module()
    holder.config = config
    assert checkpoint_dropout(holder) == expected
