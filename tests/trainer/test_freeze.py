"""Blocks are found, and what is frozen neither moves nor drops."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests.trainer import tiny
from trainer.errors import ConfigError
from trainer.freeze import find_blocks, freeze, train_mode

PROBE_BT = torch.tensor([[2, 5, 3]])
SMALL: dict[str, Any] = {
    "vocab_size": 44,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
DISTILBERT = DistilBertConfig(vocab_size=44, dim=32, hidden_dim=48, n_layers=3, n_heads=2, pad_token_id=0)
BART = BartConfig(
    vocab_size=44,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
)
MODELS: dict[str, PreTrainedModel] = {
    "albert": tiny.make_model(AlbertConfig(**SMALL, embedding_size=16), AlbertForSequenceClassification),
    "bart": tiny.make_model(BART, BartForSequenceClassification),
    "bert": tiny.make_model(tiny.make_config(), BertForSequenceClassification),
    "deberta": tiny.make_model(
        DebertaV2Config(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm"),
        DebertaV2ForSequenceClassification,
    ),
    "distilbert": tiny.make_model(DISTILBERT, DistilBertForSequenceClassification),
    "electra": tiny.make_model(ElectraConfig(**SMALL, embedding_size=16), ElectraForSequenceClassification),
    "modernbert": tiny.make_model(ModernBertConfig(**SMALL), ModernBertForSequenceClassification),
    "roberta": tiny.make_model(RobertaConfig(**SMALL), RobertaForSequenceClassification),
}
SPLITTABLE = sorted(MODELS.keys() - {"albert", "bart"})


@pytest.fixture
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    fresh = MODELS[request.param]
    fresh.requires_grad_(True)
    return fresh


def frozen_names(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("model", SPLITTABLE, indirect=True)
def test_blocks_are_found_in_order(model: PreTrainedModel) -> None:
    blocks = find_blocks(model)
    assert blocks is not None
    assert len(blocks) == 3
    assert len({type(block) for block in blocks}) == 1


@pytest.mark.parametrize("model", ["albert", "bart"], indirect=True)
def test_a_model_that_cannot_be_split_says_so(model: PreTrainedModel) -> None:
    assert find_blocks(model) is None
    with pytest.raises(ConfigError, match="frozen_layers: the blocks of this model cannot be told apart"):
        freeze(model, 1, probe_BT=PROBE_BT, missing=frozenset())


@pytest.mark.parametrize("model", SPLITTABLE, indirect=True)
def test_zero_freezes_nothing(model: PreTrainedModel) -> None:
    assert freeze(model, 0, probe_BT=PROBE_BT, missing=frozenset()) == []
    assert frozen_names(model) == set()


@pytest.mark.parametrize("model", SPLITTABLE, indirect=True)
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_k_freezes_the_embeddings_and_the_first_k_blocks(model: PreTrainedModel, n_blocks: int) -> None:
    freeze(model, n_blocks, probe_BT=PROBE_BT, missing=frozenset())
    blocks = find_blocks(model)
    assert blocks is not None
    trained = {id(p) for block in blocks[n_blocks:] for p in block.parameters()}
    trained |= {id(p) for p in model.parameters()} - {id(p) for p in model.base_model.parameters()}
    after_blocks = ("pooler", "final_norm")
    for name, parameter in model.named_parameters():
        expected = id(parameter) in trained or any(part in name for part in after_blocks)
        assert parameter.requires_grad == expected, name


@pytest.mark.parametrize("model", ["deberta"], indirect=True)
def test_what_frozen_blocks_read_is_frozen_wherever_it_lives(model: PreTrainedModel) -> None:
    freeze(model, 1, probe_BT=PROBE_BT, missing=frozenset())
    assert {"deberta.encoder.rel_embeddings.weight", "deberta.encoder.LayerNorm.weight"} <= frozen_names(model)


@pytest.mark.parametrize("model", SPLITTABLE, indirect=True)
def test_the_frozen_part_is_a_function_of_the_example(model: PreTrainedModel) -> None:
    frozen = freeze(model, 2, probe_BT=PROBE_BT, missing=frozenset())
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    blocks = find_blocks(model)
    assert blocks is not None
    outputs: dict[nn.Module, list[torch.Tensor]] = {block: [] for block in blocks}
    for block in blocks:
        block.register_forward_hook(
            lambda block, _, output: outputs[block].append(output if isinstance(output, torch.Tensor) else output[0])
        )
    train_mode(model, frozen)
    for _ in range(2):
        model(input_ids=PROBE_BT, attention_mask=torch.ones_like(PROBE_BT))
    same = [torch.equal(*outputs[block]) for block in blocks]
    assert same == [True, True, False]
    assert not outputs[blocks[1]][0].requires_grad
    assert outputs[blocks[2]][0].requires_grad


@pytest.mark.parametrize("model", ["bert"], indirect=True)
def test_what_the_checkpoint_lacks_trains_even_in_a_frozen_block(model: PreTrainedModel) -> None:
    missing = "bert.encoder.layer.0.output.dense.bias"
    freeze(model, 2, probe_BT=PROBE_BT, missing=frozenset({missing}))
    assert missing not in frozen_names(model)
    assert "bert.encoder.layer.0.output.dense.weight" in frozen_names(model)


@pytest.mark.parametrize("model", ["bert"], indirect=True)
def test_more_layers_than_blocks_are_refused(model: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="frozen_layers = 4: the model has 3 blocks"):
        freeze(model, 4, probe_BT=PROBE_BT, missing=frozenset())
