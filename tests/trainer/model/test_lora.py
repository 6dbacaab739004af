"""Adapters are peft's: the same losses, saved as peft saves them, where the study wants them."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from tests.trainer import tiny
from tests.trainer.architectures import save_model
from tests.trainer.families import METHODS, SHORT, Study, every_step, mostly_slow
from tests.trainer.observed import NUMBER, SEED, observe
from trainer.data.batches import epoch_batches
from trainer.errors import ConfigError
from trainer.model.forward import forward
from trainer.train.prepare import Prepared, prepare
from trainer.trial.seeds import derive_seed


def prepare_language_model(folder: Path, name: str) -> Prepared:
    data = {"train": "train.csv", "validation": "validation.csv", "test": None, "columns": {"text": "text"}}
    spec = tiny.make_spec(task="causal-lm", model={"name": name}, data=data)
    return prepare(spec, roots=[folder], device=tiny.CPU)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_has_the_losses_of_peft_in_a_plain_loop(family_study: Study, family_folder: Path) -> None:
    prepared = every_step(family_study, "bert")
    params = {"method": "lora", "lora_rank": 4, "lora_alpha_ratio": 3.0, "dropout": 0.0, "weight_decay": 0.0}
    ours = observe(prepared, SHORT | params | {"epochs": 4, "lr_schedule": "constant"})
    described = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=r".*encoder\.layer\.\d+\..*(query|key|value|dense)",
        modules_to_save=["classifier"],
        task_type="SEQ_CLS",
    )
    base = AutoModelForSequenceClassification.from_pretrained(
        family_folder / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    torch.manual_seed(derive_seed("adapters", SEED, NUMBER))
    model = get_peft_model(base, described).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(trained) == len(ours.steps[0].rates)
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses = []
    for epoch in range(4):
        for rows in epoch_batches(prepared.train.lengths_N, 8, derive_seed("batches", SEED, NUMBER, epoch)):
            batch = prepared.train.collate(rows, tiny.CPU)
            loss = model(**batch.inputs, labels=batch.targets).loss
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert ours.train_losses == pytest.approx(losses, abs=1e-5)
    assert losses[-1] != pytest.approx(losses[0], abs=1e-3)


# peft asks transformers by an old name
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("family", mostly_slow(("bert", "gpt2")))
def test_the_saved_adapter_opens_over_the_base_model(family_study: Study, family: str, tmp_path: Path) -> None:
    prepared = family_study(family)
    trial = observe(prepared, SHORT | METHODS["lora"] | {"lora_alpha_ratio": 0.5})
    trial.best.save(tmp_path)
    base = copy.deepcopy(prepared.pretrained.model)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    batch = prepared.validation.collate(np.arange(4), tiny.CPU)
    expected = forward(trial.model.eval(), batch, "fp32")
    torch.testing.assert_close(adapted(**batch.inputs).logits, expected)
    assert not torch.allclose(expected, forward(prepared.pretrained.model.eval(), batch, "fp32"), atol=1e-4)


# peft asks transformers by an old name
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("architecture", ["bart", "gemma", "mbart", "mt5", "t5", "umt5"])
def test_a_model_whose_embeddings_have_several_names_is_saved_with_its_adapter(
    family_folder: Path, architecture: str, tmp_path: Path
) -> None:
    save_model(family_folder / architecture, architecture, AutoModelForSequenceClassification, num_labels=3)
    prepared = prepare(tiny.make_spec(model={"name": architecture}), roots=[family_folder], device=tiny.CPU)
    trial = observe(prepared, SHORT | METHODS["lora"])
    trial.best.save(tmp_path)
    batch = prepared.validation.collate(np.arange(4), tiny.CPU)
    expected = forward(trial.model.eval(), batch, "fp32")
    reopened = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(forward(reopened, batch, "fp32"), expected)
    base = copy.deepcopy(prepared.pretrained.model)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    torch.testing.assert_close(adapted(**batch.inputs).logits, expected)
    embeddings = prepared.pretrained.model.get_input_embeddings().weight.shape
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as adapter:
        assert all(adapter.get_tensor(name).shape != embeddings for name in adapter.keys())  # noqa: SIM118  # no dict


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
def test_the_adapter_of_a_language_model_holds_no_embeddings(
    family_folder: Path, architecture: str, tmp_path: Path
) -> None:
    save_model(family_folder / f"{architecture}-tied", architecture, AutoModelForCausalLM, tie_word_embeddings=True)
    prepared = prepare_language_model(family_folder, f"{architecture}-tied")
    trial = observe(prepared, SHORT | METHODS["lora"])
    trial.best.save(tmp_path)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["modules_to_save"] is None
    adapted = PeftModel.from_pretrained(copy.deepcopy(prepared.pretrained.model), tmp_path / "adapter").eval()
    batch = prepared.validation.collate(np.arange(4), tiny.CPU)
    expected = forward(trial.model.eval(), batch, "fp32")
    torch.testing.assert_close(adapted(**batch.inputs).logits, expected)
    reopened = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(forward(reopened, batch, "fp32"), expected)


@pytest.mark.parametrize("family", mostly_slow(("bert", "distilbert", "gpt2")))
def test_lora_targets_are_the_layers_of_attention_or_all(family_study: Study, family: str) -> None:
    adapted = {}
    for targets in ("all-linear", "attention"):
        params = {"method": "lora", "frozen_layers": 1, "lora_targets": targets}
        model = observe(family_study(family), SHORT | params).model
        adapted[targets] = {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name}
        inside = {name for name in adapted[targets] if any(f".{i}." in name for i in (1, 2))}
        assert adapted[targets] == inside  # none in the frozen block, none in the head
    assert adapted["attention"] == {name for name in adapted["all-linear"] if "attention" in name or "attn" in name}
    assert adapted["attention"] < adapted["all-linear"]


@pytest.mark.parametrize("family", tiny.DECODERS)
def test_lora_leaves_the_output_layer_of_a_language_model_alone(family_folder: Path, family: str) -> None:
    tiny.save_family(family_folder / f"{family}-lm", family, AutoModelForCausalLM, tie_word_embeddings=family == "gpt2")
    prepared = prepare_language_model(family_folder, f"{family}-lm")
    trial = observe(prepared, SHORT | METHODS["lora"])
    moved = trial.moved(prepared.pretrained.model.state_dict())
    assert moved == {name for name, _ in trial.model.named_parameters() if ".lora_" in name}
    if family == "gpt2":
        with pytest.raises(ConfigError, match="method head_only: the model's head shares its weights"):
            observe(prepared, SHORT | METHODS["head_only"])
    else:
        assert "lm_head.weight" in observe(prepared, SHORT | METHODS["head_only"]).moved(
            prepared.pretrained.model.state_dict()
        )


def test_lora_on_nothing_is_refused(family_study: Study) -> None:
    with pytest.raises(ConfigError, match="what is not frozen of the architecture 'bert' has no layer"):
        observe(family_study("bert"), SHORT | {"method": "lora", "frozen_layers": 3})
