"""Padding changes no logit: it stands where the model wants it, or the model is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from tests.trainer import tiny
from tests.trainer.architectures import save_model, write_texts
from trainer.data.tokenised_split import TokenisedSplit
from trainer.errors import ConfigError
from trainer.model.best_model import BestModel
from trainer.model.forward import forward
from trainer.model.padding import find_padding_side
from trainer.train import prepare as module
from trainer.train.evaluate import evaluate
from trainer.train.prepare import prepare


def uneven(*lengths: int) -> TokenisedSplit:
    """Rows of random tokens."""
    starts_N1 = np.cumsum([0, *lengths])
    tokens_S = np.random.default_rng(0).integers(4, 40, starts_N1[-1], dtype=np.int32)
    return TokenisedSplit(
        tokens_S=tokens_S,
        starts_N1=starts_N1,
        targets=np.zeros(len(lengths), dtype=np.int64),
        pad_id=0,
        truncated_rows=0,
    )


@pytest.mark.parametrize("architecture", ["canine", "convbert", "fnet", "nystromformer", "yoso"])
def test_a_model_that_reads_its_padding_is_refused_by_name(architecture: str, tmp_path: Path) -> None:
    save_model(tmp_path / architecture, architecture)
    data = write_texts(tmp_path, train=16, validation=7)
    spec = tiny.make_spec(model={"name": architecture}, data=data)
    with pytest.raises(
        ConfigError, match=f"padding changes what the architecture '{architecture}' puts out for a text"
    ):
        prepare(spec, roots=[tmp_path], device=tiny.CPU)


def test_a_model_that_reads_only_whole_segments_is_refused_by_name(tmp_path: Path) -> None:
    save_model(tmp_path / "model", "nystromformer", segment_means_seq_len=16, num_landmarks=4)
    data = write_texts(tmp_path, train=16, validation=7)
    with pytest.raises(ConfigError, match=r"^model.name: the architecture 'nystromformer' cannot read a text of \d+ "):
        prepare(tiny.make_spec(data=data), roots=[tmp_path], device=tiny.CPU)


@pytest.fixture
def fnet(tmp_path: Path) -> PreTrainedModel:
    save_model(tmp_path / "fnet", "fnet", AutoModelForSequenceClassification)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(tmp_path / "fnet")
    return model.eval()


def test_what_a_refused_model_would_have_told_moves_with_the_batch(fnet: PreTrainedModel) -> None:
    split = uneven(4, 12)
    with torch.no_grad():
        alone, beside = (forward(fnet, split.collate(np.array(rows), tiny.CPU), "fp32")[0] for rows in ([0], [0, 1]))
    assert (alone - beside).abs().max() > 0.1 * alone.abs().max()


def test_rows_of_one_length_need_no_padding(fnet: PreTrainedModel) -> None:
    assert find_padding_side(fnet, [uneven(7, 7)]) == "right"
    with pytest.raises(ConfigError, match="padding changes"):
        find_padding_side(fnet, [uneven(7, 7), uneven(5, 7)])


@pytest.mark.parametrize("family", [*tiny.ENCODERS, *tiny.DECODERS])
def test_most_architectures_are_padded_on_the_right(family: str) -> None:
    assert find_padding_side(tiny.make_family(family, pad_token_id=0), [uneven(4, 12)]) == "right"


def test_the_side_is_found_once_and_kept_by_the_facts(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path / "xlnet", "xlnet")
    spec = tiny.make_spec(model={"name": "xlnet"}, training={"similarity": False})
    first = prepare(spec, roots=[tmp_path, pristine], device=tiny.CPU)
    assert first.facts.padding_side == "left"
    monkeypatch.delattr(module, "find_padding_side")
    again = prepare(spec, roots=[tmp_path, pristine], device=tiny.CPU, facts=first.facts)
    assert isinstance(again.train, TokenisedSplit)
    assert again.train.pads_left
    assert again.pretrained.processor.padding_side == "left"


def test_xlnet_is_padded_on_the_left_in_training_and_behind_it(pristine: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "xlnet", "xlnet")
    prepared = prepare(tiny.make_spec(model={"name": "xlnet"}), roots=[tmp_path, pristine], device=tiny.CPU)
    model = prepared.pretrained.new_model(seed=0, number=0)
    one_by_one, together = (
        evaluate(model, prepared.task, prepared.validation, "fp32", tokens=tokens) for tokens in (1, 10**6)
    )
    assert together["loss"] == pytest.approx(one_by_one["loss"], abs=1e-6)
    best = BestModel()
    best.keep(prepared.pretrained, model)
    best.save(tmp_path / "saved")
    texts = [text for text, _ in tiny.make_examples(30, seed=2)]
    inputs = AutoTokenizer.from_pretrained(tmp_path / "saved")(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found_BC = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()(**inputs).logits
        expected_BC = forward(model.eval(), prepared.validation.collate(np.arange(30), tiny.CPU), "fp32")
    torch.testing.assert_close(found_BC, expected_BC)
