"""Every hyperparameter acts, on every architecture and in every method: seen in weights and losses, not in settings.

A normal run takes each architecture with one method and each hyperparameter with a few; ``-m slow`` takes all pairs.
"""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    get_cosine_schedule_with_warmup,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.trainer_pt_utils import LabelSmoother

from tests.trainer import tiny
from tests.trainer.families import (
    METHODS,
    N_BLOCKS,
    SHORT,
    Study,
    attention_of,
    blocks_of,
    every_step,
    first_batch,
    head_of,
    mostly_slow,
)
from tests.trainer.observed import Observed, count_calls, observe
from trainer.errors import ConfigError
from trainer.model.forward import forward
from trainer.train import begin_trial as loop
from trainer.train.prepare import prepare
from trainer.trial.config import TrialConfig

AFTER_BLOCKS = ("pooler", "final_norm", "ln_f", "model.norm", "vit.layernorm")
"""What of a base model comes behind its blocks."""


def pairwise() -> list[Any]:
    names = list(METHODS)
    return [
        pytest.param(family, method, marks=() if (i - j) % len(names) == 0 else pytest.mark.slow)
        for i, family in enumerate(tiny.FAMILIES)
        for j, method in enumerate(names)
    ]


def expected_to_move(model: PreTrainedModel, method: str) -> set[str]:
    """By the table of docs: written here without any of the trainer's own rules but the list of blocks."""
    names = {name for name, _ in model.named_parameters()}
    if method in ("full", "gradual"):
        return names
    if method.startswith("lora"):
        return {name for name in names if ".lora_" in name} | head_of(model)
    first = {"head_only": 3, "frozen": 2}[method]
    blocks = {p for block in blocks_of(model)[first:] for p in block.parameters()}
    after = {name for name in names if any(part in name for part in AFTER_BLOCKS)}
    return {name for name, p in model.named_parameters() if p in blocks} | after | head_of(model)


@pytest.mark.parametrize(("family", "method"), pairwise())
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves_and_is_saved(
    family_study: Study, family: str, method: str, tmp_path: Path
) -> None:
    prepared = family_study(family)
    start = prepared.pretrained.model.state_dict()
    trial = observe(prepared, SHORT | METHODS[method])
    assert trial.moved(start) == expected_to_move(trial.model, method)
    trial.best.save(tmp_path)
    saved = prepared.task.model_class.from_pretrained(tmp_path)
    batch = prepared.validation.collate(np.arange(4), tiny.CPU)
    torch.testing.assert_close(forward(saved, batch, "fp32"), forward(trial.model.eval(), batch, "fp32"))


@pytest.mark.parametrize("family", mostly_slow(("deberta-v2", "gpt2")))
def test_blocks_thaw_at_the_right_steps(family_study: Study, family: str) -> None:
    trial = observe(family_study(family), SHORT | {"unfreeze": "gradual", "frozen_layers": 1, "epochs": 2})
    blocks = blocks_of(trial.model)
    thawed = [[any(p in step.rates for p in block.parameters()) for block in blocks] for step in trial.steps]
    # 2 blocks in the first 4 of 12 steps
    assert thawed == [[False] * 3] * 2 + [[False, False, True]] * 2 + [[False, True, True]] * 8
    start = family_study(family).pretrained.model.state_dict()
    names = {name for name, p in trial.model.named_parameters() if p in set(blocks[0].parameters())}
    assert not names & trial.moved(start)


def test_the_embeddings_thaw_with_the_first_block(family_study: Study) -> None:
    trial = observe(family_study("bert"), SHORT | {"unfreeze": "gradual", "epochs": 3})
    embedding = trial.model.get_input_embeddings().weight
    first = next(blocks_of(trial.model)[0].parameters())
    for parameter in (embedding, first):
        assert [parameter in step.rates for step in trial.steps] == [False] * 6 + [True] * 12


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_the_checkpoint_lacks_trains_in_a_frozen_model(family_study: Study, method: str) -> None:
    prepared = family_study("roberta", head=False)
    assert prepared.pretrained.missing == {"classifier.out_proj.weight", "classifier.out_proj.bias"}
    trial = observe(prepared, SHORT | {"frozen_layers": 3 if method == "full" else 2, "method": method})
    assert prepared.pretrained.missing <= trial.moved(prepared.pretrained.model.state_dict())


@pytest.mark.parametrize("family", mostly_slow(("electra", "qwen2", "vit")))
@pytest.mark.parametrize("method", ["full", "lora"])
def test_each_block_has_its_rate(family_study: Study, family: str, method: str) -> None:
    trial = observe(family_study(family), SHORT | {"layer_lr_decay": 0.5, "method": method})
    step = trial.steps[2]
    rate = max(step.rates.values())
    assert rate == pytest.approx(1e-3 * 4 / 5)  # linear, behind one step of warm-up
    for i, block in enumerate(blocks_of(trial.model)):
        found = {step.rates[p] for p in block.parameters() if p in step.rates}
        assert list(found) == [pytest.approx(rate * 0.5 ** (N_BLOCKS - i))]
    named = dict(trial.model.named_parameters())
    assert {step.rates[named[name]] for name in head_of(trial.model)} == {rate}
    if method == "full":
        embedding = next(trial.model.get_input_embeddings().parameters())
        assert step.rates[embedding] == pytest.approx(rate * 0.5 ** (N_BLOCKS + 1))


@pytest.mark.parametrize("family", mostly_slow(("modernbert", "llama")))
def test_only_matrices_decay(family_study: Study, family: str) -> None:
    trial = observe(family_study(family), SHORT | {"weight_decay": 0.25})
    assert {p.ndim >= 2: decay for p, decay in trial.steps[0].decay.items()} == {True: 0.25, False: 0.0}


def test_the_rates_of_a_trial_are_those_of_transformers(family_study: Study) -> None:
    trial = observe(family_study("bert"), SHORT | {"epochs": 4, "lr_schedule": "cosine", "warmup_ratio": 0.25})
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = get_cosine_schedule_with_warmup(optimizer, 6, 24)
    expected = []
    for _ in range(24):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    found = [max(step.rates.values()) for step in trial.steps]
    assert [found[step] for step in (0, 3, 6, 15, 23)] == [expected[step] for step in (0, 3, 6, 15, 23)]


def test_dropout_0_is_deterministic_and_more_is_not(family_study: Study) -> None:
    prepared = every_step(family_study, "bert")
    losses = {p: observe(prepared, SHORT | {"dropout": p, "learning_rate": 1e-12}).train_losses[0] for p in (0.0, 0.5)}
    batch = prepared.train.collate(first_batch(prepared, 8), tiny.CPU)
    logits_BC = forward(prepared.pretrained.model.eval(), batch, "fp32")
    expected = nn.functional.cross_entropy(logits_BC, batch.targets).item()
    assert losses[0.0] == pytest.approx(expected, abs=1e-6)
    assert abs(losses[0.5] - expected) > 1e-3


def test_label_smoothing_is_that_of_transformers_and_is_in_no_loss_that_is_told(family_study: Study) -> None:
    prepared = every_step(family_study, "bert")
    still = SHORT | {"dropout": 0.0, "learning_rate": 1e-12, "max_grad_norm": 0.0}
    plain, smooth = (observe(prepared, still | {"label_smoothing": share}) for share in (0.0, 0.3))
    batch = prepared.train.collate(first_batch(prepared, 8), tiny.CPU)
    model = copy.deepcopy(prepared.pretrained.model).eval()
    loss = LabelSmoother(epsilon=0.3)(SequenceClassifierOutput(logits=forward(model, batch, "fp32")), batch.targets)
    torch.autograd.backward(loss)
    squares = (float(one.grad.square().sum()) for one in model.parameters() if one.grad is not None)
    assert smooth.steps[0].gradient_norm == pytest.approx(sum(squares) ** 0.5, rel=1e-5)
    assert smooth.steps[0].gradient_norm != pytest.approx(plain.steps[0].gradient_norm, rel=1e-3)
    assert smooth.train_losses == pytest.approx(plain.train_losses, abs=1e-6)
    assert smooth.validation_losses[0] == plain.validation_losses[0]


@pytest.mark.parametrize("family", mostly_slow(("distilbert", "gpt2")))
def test_a_batch_of_32_in_4_parts_is_one_of_32(
    family_study: Study, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = every_step(family_study, family, 2)
    params = SHORT | {"batch_size": 32, "epochs": 3, "dropout": 0.0}
    whole = observe(prepared, params)
    longest = int(prepared.train.lengths_N.max())
    monkeypatch.setattr(loop, "training_tokens", lambda device: 8 * longest)
    attention = type(attention_of(blocks_of(prepared.pretrained.model)[0]))
    parts: list[Observed] = []
    calls = count_calls(attention, lambda: parts.append(observe(prepared, params)))
    assert max(calls.values()) >= 3 * (4 + 2)  # 32 and 16 rows of 3 epochs, 8 at once
    assert parts[0].train_losses == pytest.approx(whole.train_losses, abs=1e-5)
    assert parts[0].validation_losses == pytest.approx(whole.validation_losses, abs=1e-5)


def test_beta2_and_the_gradient_norm_reach_the_step(family_study: Study) -> None:
    free = observe(family_study("bert"), SHORT | {"max_grad_norm": 0.0})
    clipped = observe(family_study("bert"), SHORT | {"max_grad_norm": 0.125, "adam_beta2": 0.9})
    assert free.steps[0].betas == (0.9, 0.999)
    assert clipped.steps[0].betas == (0.9, 0.9)
    assert min(step.gradient_norm for step in free.steps) > 0.125
    assert [step.gradient_norm for step in clipped.steps] == pytest.approx([0.125] * 6, rel=1e-4)


@pytest.mark.parametrize("family", mostly_slow(("bert", "llama")))
@pytest.mark.parametrize("method", ["full", "frozen", "lora-frozen"])
def test_gradient_checkpointing_computes_twice_what_trains_and_changes_no_loss(
    family_study: Study, family: str, method: str
) -> None:
    prepared = every_step(family_study, family)
    params = SHORT | METHODS[method]
    plain = observe(prepared, params)
    attention = type(attention_of(blocks_of(prepared.pretrained.model)[0]))
    saving: list[Observed] = []
    calls = count_calls(attention, lambda: saving.append(observe(prepared, params | {"gradient_checkpointing": True})))
    assert saving[0].train_losses == plain.train_losses
    assert saving[0].validation_losses == plain.validation_losses
    depth = {"full": 0, "frozen": 2, "lora-frozen": 1}[method]
    counted = [calls[attention_of(block)] for block in blocks_of(saving[0].model)]
    # once more for each trace that finds out what is frozen
    assert counted == [pytest.approx(6, abs=1)] * depth + [pytest.approx(12, abs=1)] * (3 - depth)


def test_checkpointing_is_refused_where_the_architecture_does_not_know_it(family_folder: Path) -> None:
    config = AlbertConfig(**{**tiny.make_config().to_dict(), "model_type": "albert", "embedding_size": 16})
    torch.manual_seed(0)
    tiny.save(AutoModelForSequenceClassification.from_config(config), family_folder / "albert")
    prepared = prepare(tiny.make_spec(model={"name": "albert"}), roots=[family_folder], device=tiny.CPU)
    with pytest.raises(ConfigError, match="gradient_checkpointing: the architecture 'albert' does not support it"):
        observe(prepared, SHORT | {"gradient_checkpointing": True})
    for method in ("head_only", "lora"):
        trial = observe(prepared, SHORT | METHODS[method])
        moved = trial.moved(prepared.pretrained.model.state_dict())
        assert moved == {name for name, _ in trial.model.named_parameters() if "lora_" in name or "classifier" in name}


def test_a_share_of_a_block_is_rounded(family_study: Study) -> None:
    trial = observe(family_study("bert"), SHORT | {"frozen_fraction": 0.5})
    assert TrialConfig.from_params({"frozen_fraction": 0.5}).depth(3) == math.floor(0.5 * 3 + 0.5)
    first, second, third = ([p in trial.steps[0].rates for p in b.parameters()] for b in blocks_of(trial.model))
    assert (any(first), any(second), all(third)) == (False, False, True)
