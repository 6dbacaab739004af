"""What never trains lies in bf16 beside a body in bf16, and nobody can tell by the numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from tests.trainer import tiny
from tests.trainer.architectures import make_model
from tests.trainer.families import N_ROWS, Study
from tests.trainer.model.test_forward import batch_of, images_of
from tests.trainer.observed import observe
from tests.trainer.task_cases import CASES, TaskCase
from trainer.model.forward import forward
from trainer.model.frozen_in_bf16 import keep_frozen_in_bf16
from trainer.train import begin_trial
from trainer.train.prepare import Prepared, prepare

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1},
    "frozen_layers": {"frozen_layers": 2, "dropout": 0.1},
    "head_only": {"method": "head_only"},
}
SWIFT = {("images", "head_only"), ("completions", "lora"), ("one-class", "frozen_layers")}
SHORT = {"batch_size": 8, "epochs": 1, "learning_rate": 1e-2}


def in_bf16(prepared: Prepared) -> Prepared:
    return replace(prepared, facts=prepared.facts.model_copy(update={"precision": "bf16"}))


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(
            case, method, id=f"{case.id}-{method}", marks=() if (case.id, method) in SWIFT else pytest.mark.slow
        )
        for case in CASES
        for method in METHODS
        # a head that is tied to the embeddings cannot train alone
        if (case.id, method) != ("texts-to-write", "head_only")
    ],
)
def test_losses_and_saved_models_are_the_same_to_the_last_bit(
    case: TaskCase, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.write(tmp_path)
    spec = tiny.make_spec(**case.spec(training={"similarity": False, "evaluations_per_epoch": 2}))
    prepared = in_bf16(prepare(spec, roots=[tmp_path], device=tiny.CPU))
    narrow = observe(prepared, SHORT | METHODS[method])
    monkeypatch.setattr(begin_trial, "keep_frozen_in_bf16", lambda *_: None)
    wide = observe(prepared, SHORT | METHODS[method])
    assert narrow.evaluations == wide.evaluations
    frozen = [one for one in narrow.model.parameters() if not one.requires_grad]
    assert torch.bfloat16 in {one.dtype for one in frozen}
    assert {one.dtype for one in wide.model.parameters()} == {torch.float32}
    assert {one.dtype for one in narrow.model.parameters() if one.requires_grad} == {torch.float32}
    for name, trial in (("narrow", narrow), ("wide", wide)):
        trial.best.save(tmp_path / name)
    assert files_of(tmp_path / "narrow") == files_of(tmp_path / "wide")


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_computes_the_same_in_half_the_memory(family: str) -> None:
    auto_class = AutoModelForImageClassification if family == "vit" else AutoModelForSequenceClassification
    model = tiny.make_family(family, auto_class).requires_grad_(False)
    original = tiny.make_family(family, auto_class)
    batch = images_of() if family == "vit" else batch_of()
    expected = forward(model.eval(), batch, "bf16")
    keep_frozen_in_bf16(model, original, lambda: forward(model, batch, "bf16"))
    assert torch.equal(forward(model, batch, "bf16"), expected)
    body = set(model.base_model.modules())
    for module in model.modules():
        is_product = isinstance(module, nn.Linear | Conv1D | nn.Conv2d) and module in body
        wanted = torch.bfloat16 if is_product else torch.float32
        assert all(one.dtype == wanted for one in module.parameters(recurse=False)), module


@pytest.mark.parametrize(("architecture", "is_narrow"), [("llama", True), ("phi", True), ("gpt2", False)])
def test_the_head_of_a_language_model_is_in_bf16_unless_it_is_the_embeddings(
    architecture: str, is_narrow: bool
) -> None:
    model = make_model(architecture, AutoModelForCausalLM, tie_word_embeddings=not is_narrow).requires_grad_(False)
    expected = forward(model.eval(), batch_of(), "bf16")
    keep_frozen_in_bf16(model, model, lambda: forward(model, batch_of(), "bf16"))
    head = model.get_output_embeddings()
    assert (head.weight.dtype == torch.bfloat16) is is_narrow
    assert head.bias is None or head.bias.dtype == torch.float32
    assert torch.equal(forward(model, batch_of(), "bf16"), expected)


def test_blocks_that_thaw_later_stay_in_fp32(family_study: Study) -> None:
    params = SHORT | {"unfreeze": "gradual", "frozen_layers": 1, "batch_size": N_ROWS}
    trial = observe(in_bf16(family_study("bert")), params)
    narrow = {name for name, one in trial.model.named_parameters() if one.dtype == torch.bfloat16}
    assert narrow
    assert all(name.startswith("bert.encoder.layer.0.") for name in narrow)


def test_a_model_whose_logits_would_change_is_left_in_fp32(
    family_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_a_little(model: Any, pretrained: Any, compute_logits: Callable[[], torch.Tensor]) -> None:
        keep_frozen_in_bf16(model, pretrained, lambda: compute_logits() + 1e-3 * torch.rand(()))

    monkeypatch.setattr(begin_trial, "keep_frozen_in_bf16", change_a_little)
    prepared = in_bf16(family_study("bert"))
    trial = observe(prepared, SHORT | METHODS["lora"] | {"batch_size": N_ROWS})
    assert {one.dtype for one in trial.model.parameters()} == {torch.float32}
    trained = {name for name, one in trial.model.named_parameters() if one.requires_grad}
    assert trial.moved(dict(prepared.pretrained.model.named_parameters())) <= trained
