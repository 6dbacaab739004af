from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from tests.trainer import tiny
from tests.trainer.conftest import SavedTrial
from trainer.predict import NoModel, predict


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


def test_a_folder_without_a_model_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(NoModel, match=r"no config\.json"):
        list(predict(tmp_path, ["a"]))
    body = tiny.save_bert(tmp_path / "body")
    with pytest.raises(NoModel, match="answers none of our tasks"):
        list(predict(body, ["a"]))
