import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from spezia.cli.model_commands import PREDICT
from tests.trainer import tiny
from tests.trainer.conftest import SavedTrial
from trainer.data.image_files import decode
from trainer.data.tokenise import encode
from trainer.model.pretrained import load_image_processor
from trainer.predict import MAX_NEW_TOKENS, BadInput, NoModel, predict


def test_a_classifier_answers_with_the_probabilities_of_its_logits(saved_trial: SavedTrial) -> None:
    folder, _ = saved_trial
    text = tiny.make_examples(1, seed=2)[0][0]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        [row] = model(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")).logits.softmax(-1).tolist()
    expected = {model.config.id2label[position]: probability for position, probability in enumerate(row)}
    [answer] = predict(folder, [text])
    assert answer.probabilities == pytest.approx(expected, abs=1e-5)
    assert list(answer.probabilities.values()) == sorted(answer.probabilities.values(), reverse=True)
    assert answer.label == next(iter(answer.probabilities))


def test_a_regression_answers_with_a_number_and_several_labels_with_those_above_one_half(tmp_path: Path) -> None:
    number = tiny.make_model(tiny.make_config(num_labels=1, problem_type="regression"), BertForSequenceClassification)
    [answer] = predict(tiny.save(number, tmp_path / "number"), ["word1 word2"])
    assert answer.number is not None
    assert answer.label is None
    config = tiny.make_config(num_labels=3, problem_type="multi_label_classification")
    several = tiny.save(tiny.make_model(config, BertForSequenceClassification), tmp_path / "several")
    [answer] = predict(several, ["word1 word2"])
    assert answer.probabilities is not None
    assert answer.labels == [label for label, probability in answer.probabilities.items() if probability > 0.5]


def test_tags_lie_in_the_text(tmp_path: Path) -> None:
    model = tiny.make_model(tiny.make_config(num_labels=2, id2label={0: "B-X", 1: "B-Y"}), BertForTokenClassification)
    [answer] = predict(tiny.save(model, tmp_path / "tags"), ["word1 word2"])
    assert answer.tags
    assert all(tag.text == answer.input[tag.start : tag.end] and tag.tag in ("X", "Y") for tag in answer.tags)


def greedy(folder: Path, ids: list[int], n_new: int) -> str:
    """What a model writes behind these tokens, worked out a token at a time."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    written: list[int] = []
    with torch.no_grad():
        while len(written) < n_new and tokenizer.eos_token_id not in written:
            logits = model(input_ids=torch.tensor([ids + written])).logits
            written.append(int(logits[0, -1].argmax()))
    return str(tokenizer.decode(written, skip_special_tokens=True))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_language_model_writes_on_behind_the_tokens_that_it_was_trained_to_answer(
    tmp_path: Path, family: str
) -> None:
    folder = tiny.save_family(tmp_path / "model", family, AutoModelForCausalLM)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "word1 word2"
    [[*ids]] = encode(tokenizer, [text])
    n_new = min(MAX_NEW_TOKENS, 64 - len(ids))  # the tiny models read 64 tokens
    [answer] = predict(folder, [text])
    assert answer.completion == greedy(folder, ids, n_new)
    assert answer.completion


def test_a_chat_model_is_asked_by_its_template(tmp_path: Path) -> None:
    model = tiny.make_family("llama", AutoModelForCausalLM)
    folder = tiny.save(model, tmp_path / "chat", tiny.make_chat_tokenizer())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("[CLS] angry word1 word2 [SEP] [CLS] calm", add_special_tokens=False)["input_ids"]
    [answer] = predict(folder, ["word1 word2"], is_chat=True)
    assert answer.completion == greedy(folder, ids, min(MAX_NEW_TOKENS, 64 - len(ids)))
    [plain] = predict(folder, ["word1 word2"])
    assert plain.completion != answer.completion


def test_a_text_that_leaves_no_room_for_an_answer_is_refused(tmp_path: Path) -> None:
    folder = tiny.save_family(tmp_path / "model", "gpt2", AutoModelForCausalLM)
    with pytest.raises(BadInput, match="has 71 tokens, and the model reads 64; shorten it"):
        list(predict(folder, ["word1 " * 70]))


def test_an_image_is_read_as_in_training(tmp_path: Path) -> None:
    labels = {"id2label": dict(enumerate(tiny.CLASSES)), "label2id": {name: n for n, name in enumerate(tiny.CLASSES)}}
    folder = tiny.save_family(tmp_path / "vit", "vit", AutoModelForImageClassification, **labels)
    shades = np.random.default_rng(0).integers(0, 65_536, (24, 40), dtype=np.uint16)  # another size, and 16 bits
    Image.fromarray(shades).save(tmp_path / "scan.png")
    pixels = load_image_processor(folder)(images=decode(tmp_path / "scan.png"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        [row] = AutoModelForImageClassification.from_pretrained(folder)(pixel_values=pixels).logits.softmax(-1).tolist()
    [answer] = predict(folder, [str(tmp_path / "scan.png")])
    assert answer.probabilities == pytest.approx(dict(zip(tiny.CLASSES, row, strict=True)), abs=1e-5)
    assert answer.label == max(zip(row, tiny.CLASSES, strict=True))[1]


def test_the_processor_is_that_of_training_whichever_the_pipeline_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save_family(tmp_path / "vit", "vit", AutoModelForImageClassification)
    Image.new("RGB", (24, 24), (255, 0, 0)).save(tmp_path / "red.png")
    [before] = predict(folder, [str(tmp_path / "red.png")])
    other = load_image_processor(folder)
    other.image_mean = [9.0, 9.0, 9.0]
    monkeypatch.setattr("trainer.predict.load_image_processor", lambda _folder: other)
    [after] = predict(folder, [str(tmp_path / "red.png")])
    assert after.probabilities != before.probabilities


@pytest.mark.parametrize("named", ["none.png", "config.json", "https://example.com/cat.png"])
def test_what_is_no_image_is_refused_in_words(tmp_path: Path, named: str) -> None:
    folder = tiny.save_family(tmp_path / "vit", "vit", AutoModelForImageClassification)
    with pytest.raises(BadInput, match="is not a readable image"):
        list(predict(folder, [str(folder / named) if "/" not in named else named]))


@pytest.mark.slow
def test_the_program_writes_a_line_for_each_answer(tmp_path: Path) -> None:
    folder = tiny.save_family(tmp_path / "model", "llama", AutoModelForCausalLM)
    ended = subprocess.run(
        [*PREDICT, str(folder)], input=json.dumps(["word1", "word2"]), capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["input"] for line in ended.stdout.splitlines()] == ["word1", "word2"]


def test_a_folder_without_a_model_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(NoModel, match=r"no config\.json"):
        list(predict(tmp_path, ["a"]))
    body = tiny.save_bert(tmp_path / "body")
    with pytest.raises(NoModel, match="answers none of our tasks"):
        list(predict(body, ["a"]))
