"""What a study's first assignment finds out, and what every later one checks."""

import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AlbertModel, BertForMaskedLM

from tests.trainer import tiny
from tests.trainer.architectures import save_model
from tests.trainer.conftest import Prepare
from trainer.errors import ConfigError, DataError
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

RATE = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-3}}


def test_facts_say_what_was_found(prepared: Prepared) -> None:
    facts = prepared.facts
    assert (facts.train_rows, facts.validation_rows, facts.test_rows) == (96, 30, 21)
    assert facts.classes == list(tiny.CLASSES)
    assert (facts.max_tokens, facts.truncated_rows) == (22, 0)
    assert facts.blocks == 3
    assert facts.parameters == sum(p.numel() for p in prepared.pretrained.model.parameters())
    assert facts.checkpoint_dropout == 0.1
    assert (facts.model_commit, facts.precision, facts.warnings) == (None, "fp32", [])
    assert len(facts.model_sha256) == len(facts.data_sha256) == 64


def test_without_validation_and_test_a_fifth_is_drawn(prepare_study: Prepare) -> None:
    prepared = prepare_study(data={"validation": None, "test": None})
    assert (len(prepared.train), len(prepared.validation), prepared.test) == (78, 18, None)
    assert prepared.facts.test_rows is None


def test_cut_texts_are_counted_and_told(prepare_study: Prepare) -> None:
    facts = prepare_study(data={"max_length": 10}).facts
    assert facts.max_tokens == 10
    assert facts.truncated_rows > 50
    share = facts.truncated_rows / (96 + 30 + 21)
    assert facts.warnings == [
        f"{facts.truncated_rows} of 147 texts ({share:.1%}) are cut at data.max_length; raise it to read more"
    ]


def test_a_body_that_starts_at_random_is_told(root: Path) -> None:
    torch.manual_seed(0)
    tiny.save(BertForMaskedLM(tiny.make_config()), root / "masked")
    facts = prepare(tiny.make_spec(model={"name": "masked"}), roots=[root], device=tiny.CPU).facts
    (warning,) = facts.warnings
    assert warning.startswith("the checkpoint lacks 2 tensors of the model's body, which start at random:")
    assert warning.endswith("bert.pooler.dense.bias, bert.pooler.dense.weight")


def test_preparing_again_finds_the_same(prepared: Prepared, pristine: Path) -> None:
    again = prepare(prepared.spec, roots=[pristine], device=tiny.CPU)
    assert again.facts == prepared.facts
    later = prepare(prepared.spec, roots=[pristine], device=tiny.CPU, facts=prepared.facts)
    assert later.facts is prepared.facts


@pytest.mark.parametrize("file", ["train.csv", "validation.csv", "test.csv"])
def test_changed_data_is_refused_by_name(prepared: Prepared, root: Path, file: str) -> None:
    tiny.write_csv(root / file, tiny.make_examples(30, seed=9))
    with pytest.raises(DataError, match=r"train\.csv, validation\.csv, test\.csv changed since"):
        prepare(prepared.spec, roots=[root], device=tiny.CPU, facts=prepared.facts)


def test_a_changed_model_is_refused_by_name(prepared: Prepared, root: Path) -> None:
    tiny.save_bert(root / "model", initializer_range=0.1)
    with pytest.raises(DataError, match=r"model in .* changed since the study was prepared"):
        prepare(prepared.spec, roots=[root], device=tiny.CPU, facts=prepared.facts)


def test_a_device_that_cannot_keep_the_pinned_precision_is_refused(
    prepared: Prepared, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.model.device.CPUINFO", Path(os.devnull))
    facts = prepared.facts.model_copy(update={"precision": "bf16"})
    with pytest.raises(ConfigError, match="bf16"):
        prepare(prepared.spec, roots=[pristine], device=tiny.CPU, facts=facts)


def test_the_pinned_precision_is_kept_where_auto_would_choose_another(
    prepared: Prepared, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    cuda = torch.device("cuda")
    unprobed = tiny.make_spec(training={"similarity": False})  # the probe would compute on that device
    assert prepare(unprobed, roots=[pristine], device=cuda).facts.precision == "bf16"
    later = prepare(prepared.spec, roots=[pristine], device=cuda, facts=prepared.facts)
    assert later.facts.precision == "fp32"


def test_an_architecture_that_cannot_compute_in_bf16_trains_in_fp32_unless_bf16_is_asked_for(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    cuda = torch.device("cuda")
    save_model(tmp_path / "deberta", "deberta")
    auto, asked = (
        tiny.make_spec(model={"name": "deberta"}, training={"precision": precision, "similarity": False})
        for precision in ("auto", "bf16")
    )
    facts = prepare(auto, roots=[tmp_path, pristine], device=cuda).facts
    assert facts.precision == "fp32"
    assert any("'deberta' cannot compute in bf16 (value cannot be converted" in warning for warning in facts.warnings)
    with pytest.raises(
        ConfigError, match=r"training\.precision = bf16: the architecture 'deberta' cannot compute in bf16"
    ):
        prepare(asked, roots=[tmp_path, pristine], device=cuda)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"fixed": {"frozen_layers": 4}}, "fixed.frozen_layers = 4: model has 3 blocks; use at most 3"),
        (
            {"search_space": {"frozen_layers": {"type": "int", "low": 0, "high": 4}}},
            "search_space.frozen_layers.high = 4: model has 3 blocks",
        ),
        (
            {"search_space": {"frozen_layers": {"type": "categorical", "choices": [0, 6, 2]}}},
            "search_space.frozen_layers.choices = 6: model has 3 blocks",
        ),
        (
            {"training": {"evaluations_per_epoch": 7}},
            "training.evaluations_per_epoch = 7: an epoch of 96 rows has 6 optimizer steps at batch_size = 16",
        ),
        (
            {
                "search_space": {"batch_size": {"type": "int", "low": 8, "high": 33}},
                "training": {"evaluations_per_epoch": 4},
            },
            "has 3 optimizer steps at search_space.batch_size.high = 33",
        ),
        ({"data": {"max_length": 65}}, "data.max_length = 65: model reads 64 tokens; use at most 64"),
        ({"training": {"precision": "bf16"}}, "precision bf16"),
        ({"model": {"name": "absent", "revision": "main"}}, "model.name: absent was not found"),
    ],
)
def test_an_impossible_study_is_refused_by_field(
    prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("trainer.model.device.CPUINFO", Path(os.devnull))

    def offline(*_args: object, **_options: object) -> str:
        raise FileNotFoundError("offline")

    monkeypatch.setattr("trainer.model.model_source.snapshot_download", offline)
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare_study(**overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {"fixed": {"frozen_layers": 3, "batch_size": 16}, "training": {"evaluations_per_epoch": 6}},
        {"search_space": {"frozen_layers": {"type": "int", "low": 0, "high": 3}}},
    ],
)
def test_the_edges_of_the_possible_are_allowed(prepare_study: Prepare, overrides: dict[str, Any]) -> None:
    assert prepare_study(**overrides).facts.blocks == 3


@pytest.fixture
def albert(root: Path) -> Path:
    config = AlbertConfig(
        vocab_size=47,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
    )
    tiny.save(tiny.make_model(config, AlbertModel), root / "albert")
    return root


def test_a_model_that_cannot_be_split_may_run_whole(albert: Path) -> None:
    spec = tiny.make_spec(model={"name": "albert"}, fixed={"frozen_layers": 0})
    assert prepare(spec, roots=[albert], device=tiny.CPU).facts.blocks is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"fixed": {"frozen_layers": 1}}, "fixed.frozen_layers = 1: the blocks of albert cannot be told apart"),
        ({"fixed": {"dropout": 0.1}}, "dropout: where the architecture 'albert' keeps its dropouts is not known"),
        (
            {"search_space": RATE | {"dropout": {"type": "float", "low": 0.0, "high": 0.1}}},
            "the architecture 'albert'",
        ),
    ],
)
def test_what_an_architecture_does_not_allow_is_refused(albert: Path, overrides: dict[str, Any], message: str) -> None:
    spec = tiny.make_spec(model={"name": "albert"}, **overrides)
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare(spec, roots=[albert], device=tiny.CPU)


def test_a_tokenizer_of_another_model_is_refused(root: Path) -> None:
    tiny.save_bert(root / "narrow", vocab_size=30)
    with pytest.raises(ConfigError, match="the tokenizer of narrow knows token 4"):
        prepare(tiny.make_spec(model={"name": "narrow"}), roots=[root], device=tiny.CPU)


def test_a_length_that_nobody_asked_for_is_what_the_model_reads(root: Path) -> None:
    tiny.write_csv(root / "train.csv", [(f"{name} " * 200, name) for name in tiny.CLASSES * 8])
    prepared = prepare(tiny.make_spec(data={"max_length": None}), roots=[root], device=tiny.CPU)
    assert (prepared.facts.max_tokens, prepared.pretrained.processor.model_max_length) == (64, 64)
    told = "data.max_length is not given and is 64, since the model reads no more tokens"
    assert told in prepared.facts.warnings
    tiny.save_bert(root / "model", max_position_embeddings=256)
    prepared = prepare(tiny.make_spec(data={"max_length": None}), roots=[root], device=tiny.CPU)
    assert prepared.facts.max_tokens == 128
    assert not any("is not given" in warning for warning in prepared.facts.warnings)


@pytest.mark.parametrize(
    ("architecture", "sizes"), [("xlnet", {}), ("deberta-v2", {"max_position_embeddings": 16, "position_buckets": 4})]
)
def test_a_model_that_counts_distances_trains_at_any_length(
    root: Path, architecture: str, sizes: dict[str, Any]
) -> None:
    save_model(root / architecture, architecture, **sizes)
    tiny.write_csv(root / "train.csv", [("word1 " * n_words, tiny.CLASSES[n_words % 3]) for n_words in (9, 80, 97, 98)])
    spec = tiny.make_spec(model={"name": architecture}, data={"max_length": 100}, fixed={"batch_size": 2})
    prepared = prepare(spec, roots=[root], device=tiny.CPU)
    assert prepared.facts.max_tokens == 100
    config = TrialConfig.from_params({"batch_size": 2, "epochs": 1, "learning_rate": 1e-3})
    (evaluation,) = fine_tune(prepared, config, seed=0, number=0, best=BestModel())
    assert math.isfinite(evaluation.value)


def test_fp32_is_never_tf32(prepare_study: Prepare) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    prepare_study()
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is False
