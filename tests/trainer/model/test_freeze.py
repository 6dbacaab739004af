"""Blocks are found, and what is frozen neither moves nor drops."""

import re
from copy import deepcopy
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    ConvNextConfig,
    PreTrainedModel,
    SwinConfig,
)

from tests.trainer import tiny
from trainer.errors import ConfigError
from trainer.model.freeze import Stage, Structure, find_blocks, frozen_at, make_stage, rate_shares
from trainer.model.trial_model import check_blocks
from trainer.trial.config import TrialConfig

INPUTS = {"input_ids": torch.tensor([[2, 5, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
PIXELS = {"pixel_values": torch.ones(1, 3, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)}
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
SWIN = SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=2)
UNSPLITTABLE = {
    "albert": lambda: AutoModelForSequenceClassification.from_config(
        AlbertConfig(vocab_size=44, embedding_size=16, hidden_size=32, num_attention_heads=2)
    ),
    "bart": lambda: BartForSequenceClassification(BART),
    "convnext": lambda: AutoModelForImageClassification.from_config(
        ConvNextConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])
    ),
    "swin": lambda: AutoModelForImageClassification.from_config(SWIN),
}


@cache
def model_of(family: str) -> PreTrainedModel:
    auto_class = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    return tiny.make_family(family, auto_class)


def run(model: PreTrainedModel) -> None:
    model(**PIXELS if model.config.model_type == "vit" else INPUTS)


def stage_of(model: PreTrainedModel, n_blocks: int, always: tuple[nn.Parameter, ...] = ()) -> Stage:
    blocks = find_blocks(model)
    assert blocks is not None
    trainable = set(model.parameters())
    find_below = partial(Structure().below, model, lambda: run(model))
    return make_stage(blocks[:n_blocks], find_below=find_below, trainable=trainable, always=always)


def frozen_names(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_blocks_are_found_in_order(family: str) -> None:
    blocks = find_blocks(model_of(family))
    assert blocks is not None
    assert len(blocks) == 3
    assert len({type(block) for block in blocks}) == 1


@pytest.mark.parametrize("architecture", UNSPLITTABLE)
@pytest.mark.parametrize(
    "params", [{"frozen_layers": 1}, {"frozen_fraction": 0.5}, {"unfreeze": "gradual"}, {"layer_lr_decay": 0.9}]
)
def test_a_model_that_cannot_be_split_is_refused_by_name(architecture: str, params: dict[str, float | str]) -> None:
    model = UNSPLITTABLE[architecture]()
    blocks = find_blocks(model)
    check_blocks(TrialConfig.from_params({}), blocks, model)
    with pytest.raises(ConfigError, match=f"the architecture '{architecture}' cannot be split into blocks"):
        check_blocks(TrialConfig.from_params(params), blocks, model)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_what_lies_below_is_found_once_for_models_of_the_same_modules(family: str) -> None:
    structure, first, second = Structure(), model_of(family), deepcopy(model_of(family))
    runs = []

    def names_below(model: PreTrainedModel, position: int) -> tuple[set[str], set[str]]:
        below = structure.below(model, lambda: runs.append(model) or run(model), (find_blocks(model) or [])[position])
        modules = {name for name, module in model.named_modules() if module in below.modules}
        return modules, {name for name, parameter in model.named_parameters() if parameter in below.parameters}

    found = [names_below(first, position) for position in range(3)]
    assert [names_below(second, position) for position in range(3)] == found
    assert len(runs) == 1
    for n_makes, addition in enumerate((nn.Identity(), nn.Dropout()), start=2):
        next(iter(find_blocks(second) or [])).addition = addition
        assert names_below(second, 2) == found[2]
        assert len(runs) == n_makes


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_parameters_below_a_block_are_those_that_its_output_has_gradients_for(family: str) -> None:
    model = model_of(family).requires_grad_(True)
    parameters = list(model.parameters())
    for block in find_blocks(model) or []:
        outputs: list[Any] = []
        with block.register_forward_hook(lambda *call, outputs=outputs: outputs.append(call[2])):
            run(model)
        hidden_BTH = outputs[0] if isinstance(outputs[0], torch.Tensor) else outputs[0][0]
        gradients = torch.autograd.grad(hidden_BTH.sum(), parameters, allow_unused=True)
        read = {one for one, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        assert Structure().below(model, lambda: run(model), block).parameters == read


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_zero_freezes_nothing(family: str) -> None:
    model = model_of(family)
    stage = stage_of(model, 0)
    stage.enter(model)
    assert stage.frozen == []
    assert frozen_names(model) == set()


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_k_freezes_the_embeddings_and_the_first_k_blocks(family: str, n_blocks: int) -> None:
    model = model_of(family)
    stage_of(model, n_blocks).enter(model)
    blocks = find_blocks(model)
    assert blocks is not None
    trained = {parameter for block in blocks[n_blocks:] for parameter in block.parameters()}
    trained |= set(model.parameters()) - set(model.base_model.parameters())
    after_blocks = ("pooler", "final_norm", "ln_f", "model.norm", "vit.layernorm")
    for name, parameter in model.named_parameters():
        expected = parameter in trained or any(part in name for part in after_blocks)
        assert parameter.requires_grad == expected, name


def test_what_frozen_blocks_read_is_frozen_wherever_it_lives() -> None:
    model = model_of("deberta-v2")
    stage_of(model, 1).enter(model)
    assert {"deberta.encoder.rel_embeddings.weight", "deberta.encoder.LayerNorm.weight"} <= frozen_names(model)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_frozen_part_is_a_function_of_the_example(family: str) -> None:
    model = tiny.make_family(
        family, AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    stage = stage_of(model, 2)
    blocks = find_blocks(model)
    assert blocks is not None
    outputs: dict[nn.Module, list[torch.Tensor]] = {block: [] for block in blocks}
    for block in blocks:
        block.register_forward_hook(
            lambda block, _, output: outputs[block].append(output if isinstance(output, torch.Tensor) else output[0])
        )
    stage.enter(model)
    for _ in range(2):
        run(model)
    assert [torch.equal(*outputs[block]) for block in blocks] == [True, True, False]
    assert not outputs[blocks[1]][0].requires_grad
    assert outputs[blocks[2]][0].requires_grad


def test_what_the_checkpoint_lacks_trains_even_in_a_frozen_block() -> None:
    model = model_of("bert")
    missing = "bert.encoder.layer.0.output.dense.bias"
    stage_of(model, 2, (model.get_parameter(missing),)).enter(model)
    assert missing not in frozen_names(model)
    assert "bert.encoder.layer.0.output.dense.weight" in frozen_names(model)


def test_all_of_a_frozen_block_is_frozen_even_what_it_does_not_read() -> None:
    model = tiny.make_family("bert")
    blocks = find_blocks(model)
    assert blocks is not None
    for block in blocks[:2]:
        block.spare = nn.Parameter(torch.zeros(2))
    stage_of(model, 1).enter(model)
    assert (blocks[0].spare.requires_grad, blocks[1].spare.requires_grad) == (False, True)


def test_making_a_stage_changes_nothing() -> None:
    model = model_of("bert")
    stage_of(model, 2).enter(model)
    before = frozen_names(model)
    stage_of(model, 1)
    assert frozen_names(model) == before


@pytest.mark.parametrize(
    ("params", "n_blocks", "depth"),
    [
        ({}, 12, 0),
        ({"frozen_layers": 12}, 12, 12),
        ({"frozen_fraction": 0.5}, 12, 6),
        ({"frozen_fraction": 0.5}, 6, 3),
        ({"frozen_fraction": 1.0}, 6, 6),
        ({"method": "head_only"}, 6, 6),
    ],
)
def test_depth_is_a_number_or_a_share_of_the_blocks(params: dict[str, float | str], n_blocks: int, depth: int) -> None:
    assert TrialConfig.from_params(params).depth(n_blocks) == depth


def test_more_layers_than_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("frozen_layers = 4: the model has 3 blocks")):
        TrialConfig.from_params({"frozen_layers": 4}).depth(3)


def test_blocks_thaw_from_the_top_at_equal_fractions_of_the_first_third() -> None:
    frozen = [frozen_at(step, n_steps=90, n_blocks=6, depth=0) for step in range(90)]
    assert frozen[0] == 6
    assert [frozen.index(n) for n in (5, 4, 3, 2, 1, 0)] == [5, 10, 15, 20, 25, 30]
    assert frozen[30:] == [0] * 60


def test_blocks_thaw_no_further_than_depth() -> None:
    frozen = [frozen_at(step, n_steps=90, n_blocks=6, depth=4) for step in range(90)]
    assert [frozen.index(n) for n in (6, 5, 4)] == [0, 15, 30]
    assert min(frozen) == 4


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_rates_fall_block_by_block_from_the_head_to_the_embeddings(family: str) -> None:
    model = model_of(family)
    blocks = find_blocks(model)
    assert blocks is not None
    shares = rate_shares(blocks, 0.5, partial(Structure().below, model, lambda: run(model)))
    for i, block in enumerate(blocks):
        assert {shares[parameter] for parameter in block.parameters()} == {0.5 ** (3 - i)}
    below = {name for name, parameter in model.named_parameters() if shares.get(parameter) == 0.5**4}
    head = {name for name, parameter in model.named_parameters() if parameter not in shares}
    assert any("emb" in name or "wte" in name for name in below)
    assert all(".layer." not in name and ".h." not in name for name in below | head)
    outside = {name for name, _ in model.named_parameters() if not name.startswith(model.base_model_prefix + ".")}
    assert outside <= head
