"""Checkpoints are opened once; every trial gets a model of its own."""

import importlib.util
import re
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertForSequenceClassification,
    BertTokenizer,
    MixtralConfig,
    MixtralForCausalLM,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from tests.trainer import tiny
from tests.trainer.architectures import save_model
from tests.trainer.written_rows import TEXTS, PrepareRows
from trainer.errors import ConfigError
from trainer.model import pretrained as pretrained_module
from trainer.model.pretrained import (
    Pretrained,
    forget_unread_types,
    known_tokens,
    load_pretrained,
    load_tokenizer,
    max_positions,
)
from trainer.tasks.causal_lm import TextLm
from trainer.tasks.text_classification import TextClassification


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def differing(one: PreTrainedModel, other: PreTrainedModel) -> set[str]:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    return {name for name in mine if not torch.equal(mine[name], theirs[name])}


def load(directory: Path, class_names: tuple[str, ...] = tiny.CLASSES) -> Pretrained:
    return load_pretrained(directory, task=TextClassification(class_names=class_names), processor=tiny.make_tokenizer())


@pytest.fixture(scope="module")
def pretrained(pristine: Path) -> Pretrained:
    return load(pristine / "model")


def test_a_new_head_is_missing_and_named_after_the_classes(pretrained: Pretrained) -> None:
    assert pretrained.missing == {"classifier.weight", "classifier.bias"}
    assert pretrained.model.config.id2label == dict(enumerate(tiny.CLASSES))
    assert pretrained.model.config.label2id == {"angry": 0, "calm": 1, "glad": 2}
    assert pretrained.model.dtype == torch.float32


def test_half_precision_files_are_trained_in_fp32(pristine: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(pristine / "classifier", dtype=torch.bfloat16)
    assert load(tiny.save(model, tmp_path / "half")).model.dtype == torch.float32


def test_seed_and_number_draw_the_head_and_nothing_else(pretrained: Pretrained) -> None:
    model = pretrained.new_model(seed=1, number=2)
    assert differing(model, pretrained.new_model(seed=1, number=2)) == set()
    assert differing(model, pretrained.new_model(seed=1, number=3)) == {"classifier.weight"}
    assert differing(model, pretrained.new_model(seed=2, number=2)) == {"classifier.weight"}
    assert float(model.classifier.weight.detach().std()) == pytest.approx(0.2, rel=0.3)  # the config's own range


def test_a_loaded_neighbour_of_a_missing_parameter_is_kept(pristine: Path, tmp_path: Path) -> None:
    whole = load(pristine / "classifier")
    partial = replace(whole, missing=frozenset({"classifier.weight"}))
    torch.nn.init.ones_(whole.model.classifier.bias)
    assert differing(whole.model, partial.new_model(seed=0, number=0)) == {"classifier.weight"}


def test_training_a_copy_leaves_the_checkpoint_alone(pretrained: Pretrained) -> None:
    before = weights(pretrained.model)
    model = pretrained.new_model(seed=0, number=0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.requires_grad_(False)
    assert all(torch.equal(before[name], tensor) for name, tensor in pretrained.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in pretrained.new_model(seed=0, number=0).parameters())


def test_a_copy_made_ahead_is_one_trials_and_like_any_other(
    pretrained: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pretrained.new_model(seed=1, number=2)
    copies = []
    counting = SimpleNamespace(deepcopy=lambda model: copies.append(model) or deepcopy(model))
    monkeypatch.setattr(pretrained_module, "copy", counting)
    for _ in range(2):
        pretrained.copy_ahead()
    assert len(copies) == 1
    first = pretrained.new_model(seed=1, number=2)
    assert len(copies) == 1
    second = pretrained.new_model(seed=1, number=2)
    assert len(copies) == 2
    assert {id(one) for one in first.parameters()}.isdisjoint(id(one) for one in second.parameters())
    assert differing(first, expected) == differing(second, expected) == set()
    pretrained.copy_ahead()
    pretrained.drop_copy()
    pretrained.new_model(seed=1, number=2)
    assert len(copies) == 4


def test_a_large_model_is_not_copied_ahead(pretrained: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained_module, "AHEAD_BYTES", pretrained.model.get_memory_footprint() - 1)
    monkeypatch.setattr(pretrained_module, "copy", SimpleNamespace(deepcopy=lambda _model: pytest.fail("copied")))
    pretrained.copy_ahead()


def test_a_head_for_other_classes_is_drawn_anew(pristine: Path) -> None:
    assert load(pristine / "classifier").missing == frozenset()
    pretrained = load(pristine / "classifier", class_names=("x", "y"))
    assert pretrained.missing == {"classifier.weight", "classifier.bias"}
    assert pretrained.new_model(seed=0, number=0).classifier.out_features == 2


def test_a_body_that_contradicts_its_config_is_refused(pristine: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(pristine / "model", tmp_path / "model"))
    config = tiny.make_config(intermediate_size=48)
    config.save_pretrained(directory)
    with pytest.raises(ConfigError, match=r"disagree on the shape of bert\.encoder\.layer\.0\.intermediate"):
        load(directory)


@pytest.mark.parametrize("content", ['{"model_type": "no-such-type"}', '{"model_type": "vit"}', "{}"])
def test_what_is_no_text_classifier_is_refused(pristine: Path, tmp_path: Path, content: str) -> None:
    directory = Path(shutil.copytree(pristine / "model", tmp_path / "model"))
    (directory / "config.json").write_text(content)
    with pytest.raises(ConfigError, match="cannot be opened as AutoModelForSequenceClassification"):
        load(directory)


def test_an_architecture_without_a_head_for_the_task_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "led"}')
    with pytest.raises(ConfigError, match=r"transformers has none for the architecture 'led'; take another model$"):
        load(tmp_path)


def test_characters_are_read_whatever_their_number(tmp_path: Path) -> None:
    save_model(tmp_path, "canine")
    processor = load_tokenizer(tmp_path, 32, reads_special_tokens=False, reads_pairs=False)
    canine = load_pretrained(tmp_path, task=TextClassification(class_names=tiny.CLASSES), processor=processor)
    assert known_tokens(canine.model) is None
    assert known_tokens(tiny.make_family("bert")) == tiny.VOCABULARY_SIZE


def test_broken_weights_are_refused(pristine: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(pristine / "model", tmp_path / "model"))
    (directory / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match="cannot be opened as AutoModelForSequenceClassification"):
        load(directory)


def test_tokenizer_truncates_at_the_study_length(pristine: Path) -> None:
    tokenizer = load_tokenizer(pristine / "model", 5, reads_special_tokens=False, reads_pairs=False)
    assert len(tokenizer("word1 " * 20, truncation=True)["input_ids"]) == 5


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no padding token"):
        load_tokenizer(tmp_path, 32, reads_special_tokens=False, reads_pairs=False)


@pytest.mark.parametrize("own", [None, 0])
def test_a_token_that_also_pads_is_learnt(tmp_path: Path, own: int | None) -> None:
    tiny.save_family(tmp_path, "llama", AutoModelForCausalLM, pad_token_id=own)
    tokenizer = load_tokenizer(tmp_path, 32, reads_special_tokens=True, reads_pairs=False)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 3
    model = load_pretrained(tmp_path, task=TextLm(), processor=tokenizer).new_model(seed=0, number=0)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.tensor([[2, 7, 3, 0, 8, 9]])
    for one in (model, plain):
        torch.autograd.backward(one(input_ids=ids, labels=ids).loss)
    gradient = model.get_input_embeddings().weight.grad
    torch.testing.assert_close(gradient, plain.get_input_embeddings().weight.grad)
    assert gradient[3].abs().max() > 0
    assert (gradient[0].abs().max() > 0) == (own is None)


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path} lacks the files of its tokenizer")):
        load_tokenizer(tmp_path, 32, reads_special_tokens=False, reads_pairs=False)


def test_a_length_without_room_for_text_is_refused(pristine: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.max_length = 2 leaves no token for text"):
        load_tokenizer(pristine / "model", 2, reads_special_tokens=False, reads_pairs=False)


SMALL: dict[str, Any] = {
    "vocab_size": 44,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        (tiny.make_model(tiny.make_config(), BertForSequenceClassification), 64),
        (tiny.make_model(RobertaConfig(**SMALL), RobertaForSequenceClassification), 62),
        (tiny.make_model(ModernBertConfig(**SMALL), ModernBertForSequenceClassification), 64),
    ],
    ids=["bert", "roberta", "modernbert"],
)
def test_positions_limit_the_tokens_of_an_example(model: PreTrainedModel, limit: int) -> None:
    assert max_positions(model) == limit


def test_a_mixture_of_experts_is_refused_by_name(prepare_rows: PrepareRows, task_models: Path) -> None:
    sizes = {"vocab_size": 44, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1}
    tiny.save(tiny.make_model(MixtralConfig(**sizes, **heads), MixtralForCausalLM), task_models / "experts")
    with pytest.raises(ConfigError, match=r"is a mixture of experts \(its config has router_aux_loss_coef\)"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "experts"})


def test_positions_limit_nothing_where_a_model_counts_distances() -> None:
    assert max_positions(tiny.make_family("deberta-v2", position_biased_input=False)) is None
    sizes = {"vocab_size": 44, "d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 48}
    assert max_positions(tiny.make_model(XLNetConfig(**sizes), XLNetForSequenceClassification)) is None


def test_weights_that_are_not_finite_are_refused(pristine: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(pristine / "classifier")
    torch.nn.init.constant_(model.bert.encoder.layer[1].output.dense.bias, torch.nan)
    with pytest.raises(
        ConfigError, match=r"1 tensors of .* not finite, such as bert\.encoder\.layer\.1\.output\.dense\.b"
    ):
        load(tiny.save(model, tmp_path / "broken"))


def test_a_padding_token_that_the_model_does_not_know_is_refused(pristine: Path) -> None:
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    with pytest.raises(
        ConfigError, match=r"padding token .*, '<pad>', is number 47, and the model knows only 47 tokens"
    ):
        load_pretrained(pristine / "model", task=TextClassification(class_names=tiny.CLASSES), processor=tokenizer)


def test_a_sentencepiece_model_alone_names_the_packages_that_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.make_family("llama").save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no model that any package could open")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find_spec(name))
    with pytest.raises(ConfigError, match="pip install sentencepiece protobuf"):
        load_tokenizer(tmp_path, 32, reads_special_tokens=False, reads_pairs=False)


def test_a_saved_tokenizer_gives_no_types_to_a_model_that_reads_none(tmp_path: Path) -> None:
    """Not even one whose class gives them by default."""
    vocabulary = {token: position for position, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"))}
    tokenizer = BertTokenizer(vocab=vocabulary)
    assert "token_type_ids" in tokenizer("a", "a")
    forget_unread_types(tokenizer, tiny.make_family("distilbert"))
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert "token_type_ids" not in one("a", "a")
