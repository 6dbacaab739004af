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
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from tests.trainer import tiny
from trainer.dropout import _PLACES, check_dropout_known, checkpoint_dropout, set_dropout
from trainer.errors import ConfigError

SMALL: dict[str, Any] = {
    "vocab_size": 44,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DISTILBERT = DistilBertConfig(vocab_size=44, dim=32, hidden_dim=48, n_layers=2, n_heads=2, pad_token_id=0)
ELECTRA = ElectraConfig(**SMALL | {"embedding_size": 16})

FAMILIES: dict[str, tuple[PreTrainedConfig, type[PreTrainedModel], int]] = {
    # embeddings 1, each of 2 blocks: attention weights, attention output, feed-forward output; classifier
    "bert": (tiny.make_config(num_hidden_layers=2), BertForSequenceClassification, 1 + 2 * 3 + 1),
    "camembert": (CamembertConfig(**SMALL), CamembertForSequenceClassification, 1 + 2 * 3 + 2),
    "distilbert": (DISTILBERT, DistilBertForSequenceClassification, 1 + 2 * 2 + 1),
    "electra": (ELECTRA, ElectraForSequenceClassification, 1 + 2 * 3 + 2),
    "modernbert": (ModernBertConfig(**SMALL), ModernBertForSequenceClassification, 1 + 2 * 3 + 1),
    "mpnet": (MPNetConfig(**SMALL), MPNetForSequenceClassification, 1 + 2 * 3 + 2),
    "roberta": (RobertaConfig(**SMALL), RobertaForSequenceClassification, 1 + 2 * 3 + 2),
    "xlm-roberta": (XLMRobertaConfig(**SMALL), XLMRobertaForSequenceClassification, 1 + 2 * 3 + 2),
}
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
    config, model_class, _ = FAMILIES[family]
    return tiny.make_model(config, model_class)


def test_every_listed_family_is_tested() -> None:
    assert FAMILIES.keys() == _PLACES.keys()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_probability_reaches_every_dropout(family: str, attention: str) -> None:
    model = make(family)
    model.set_attn_implementation(attention)
    set_dropout(model, 0.375)
    with SeenDropouts() as seen:
        model.train()(input_ids=IDS_BT, attention_mask=torch.ones_like(IDS_BT))
    assert seen.probabilities == [0.375] * FAMILIES[family][2]


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_0_makes_training_equal_to_evaluation(family: str) -> None:
    model = make(family)
    set_dropout(model, 0.0)
    mask_BT = torch.ones_like(IDS_BT)
    trained_BC = model.train()(input_ids=IDS_BT, attention_mask=mask_BT).logits
    evaluated_BC = model.eval()(input_ids=IDS_BT, attention_mask=mask_BT).logits
    assert torch.equal(trained_BC, evaluated_BC)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_drawn_in_train_mode(family: str) -> None:
    model = make(family)
    set_dropout(model, 0.5)
    mask_BT = torch.ones_like(IDS_BT)
    one_BC, other_BC = (model.train()(input_ids=IDS_BT, attention_mask=mask_BT).logits for _ in range(2))
    assert not torch.equal(one_BC, other_BC)


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
