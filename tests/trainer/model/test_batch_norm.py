"""Batch normalisation keeps its pretrained statistics, so that micro-batches are no matter of the result."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification

from tests.trainer import tiny
from tests.trainer.architectures import save_model, write_images
from tests.trainer.observed import observe
from trainer.errors import ConfigError
from trainer.model.freeze import batch_norms
from trainer.train import begin_trial
from trainer.train.prepare import Prepared, prepare

PARAMS = {"learning_rate": 1e-2, "batch_size": 4, "epochs": 2}


def study(root: Path, architecture: str) -> Prepared:
    spec = tiny.make_spec(
        task="image-classification",
        model={"name": architecture},
        data=write_images(root, train=9, validation=5),
        fixed={"batch_size": 4},
        training={"similarity": False},
    )
    return prepare(spec, roots=[root], device=tiny.CPU)


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "regnet"])
def test_a_last_batch_of_one_row_and_any_micro_batch_train_alike(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / architecture, architecture)
    prepared = study(tmp_path, architecture)
    whole = observe(prepared, PARAMS)
    monkeypatch.setattr(begin_trial, "training_tokens", lambda device: 1)  # one row
    single = observe(prepared, PARAMS)
    assert single.train_losses == pytest.approx(whole.train_losses, abs=1e-5)
    assert single.validation_losses == pytest.approx(whole.validation_losses, abs=1e-5)
    before, after = (batch_norms(model) for model in (prepared.pretrained.model, whole.model))
    assert before
    for name, norm in before.items():
        assert torch.equal(norm.running_mean, after[name].running_mean)
        assert torch.equal(norm.running_var, after[name].running_var)
    assert any(not torch.equal(norm.weight, after[name].weight) for name, norm in before.items())


def test_a_new_head_with_batch_norm_is_refused_by_name(tmp_path: Path) -> None:
    save_model(tmp_path / "levit", "levit")
    with pytest.raises(ConfigError, match=r"lacks the statistics of classifier\.batch_norm"):
        study(tmp_path, "levit")


def test_a_new_layer_behind_a_known_batch_norm_trains(tmp_path: Path) -> None:
    whole = {"architectures": ["LevitForImageClassification"], "num_labels": 5}
    save_model(tmp_path / "levit", "levit", AutoModelForImageClassification, **whole)
    prepared = study(tmp_path, "levit")
    assert prepared.pretrained.missing == {"classifier.linear.weight", "classifier.linear.bias"}
    assert observe(prepared, PARAMS).validation_losses


def test_a_count_of_batches_that_a_checkpoint_lacks_is_no_weight(tmp_path: Path) -> None:
    save_model(tmp_path / "resnet", "resnet")
    file = tmp_path / "resnet" / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(file).items() if not name.endswith("num_batches_tracked")}
    save_file(tensors, file, metadata={"format": "pt"})
    prepared = study(tmp_path, "resnet")
    assert not any("num_batches_tracked" in name for name in prepared.pretrained.missing)
    assert observe(prepared, PARAMS).validation_losses
