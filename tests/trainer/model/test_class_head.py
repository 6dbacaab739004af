"""A fine-tuned head is taken over by the names of its classes, or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from tests.trainer import tiny
from tests.trainer.written_rows import MULTI, SINGLE, TAGGED, PrepareRows
from trainer.model.class_head import class_axes, match_names
from trainer.train.evaluate import evaluate
from trainer.train.prepare import prepare


def save_named(directory: Path, names: Mapping[int, str], family: str = "bert", auto_class: Any = None) -> Path:
    names = dict(names)
    return tiny.save_family(
        directory,
        family,
        auto_class or AutoModelForSequenceClassification,
        num_labels=len(names),
        id2label=names,
        label2id={name: position for position, name in names.items()},
    )


def reopened(directory: Path, auto_class: Any = AutoModelForSequenceClassification) -> PreTrainedModel:
    model: PreTrainedModel = auto_class.from_pretrained(directory)
    return model


@pytest.mark.parametrize("family", tiny.ENCODERS + tiny.DECODERS)
def test_a_head_whose_classes_come_in_another_order_answers_as_before(task_models: Path, family: str) -> None:
    directory = save_named(task_models / f"upside-down-{family}", {0: "glad", 1: "calm", 2: "angry"}, family)
    prepared = prepare(
        tiny.make_spec(model={"name": directory.name}, training={"similarity": False}),
        roots=[task_models, written(task_models)],
        device=tiny.CPU,
    )
    assert prepared.facts.classes == ["angry", "calm", "glad"]
    assert prepared.pretrained.missing == frozenset()
    inputs = prepared.train.collate(torch.arange(4).numpy(), tiny.CPU).inputs
    with torch.no_grad():
        before = reopened(directory).eval()
        before.config.pad_token_id = prepared.pretrained.model.config.pad_token_id
        before_BC = before(**inputs).logits
        after_BC = prepared.pretrained.new_model(seed=0, number=0).eval()(**inputs).logits
    torch.testing.assert_close(after_BC, before_BC[:, [2, 1, 0]])


def written(root: Path) -> Path:
    if not (root / "train.csv").exists():
        for split, n_rows in (("train", 12), ("validation", 6), ("test", 6)):
            tiny.write_csv(root / f"{split}.csv", tiny.make_examples(n_rows, seed=n_rows))
    return root


def test_a_perfect_head_stays_perfect(prepare_rows: PrepareRows, task_models: Path) -> None:
    """The case of the bug report: ``{0: good, 1: bad}`` beside classes in the order bad, good."""
    rows = [{"text": f"word{n}", "label": "good" if n % 2 else "bad"} for n in range(20)]
    directory = save_named(task_models / "perfect", {0: "good", 1: "bad"})
    train = prepare_rows("text-classification", rows, rows, model={"name": "perfect"})
    logits_NC = reopened(directory).eval()(**train.train.collate(torch.arange(20).numpy(), tiny.CPU).inputs).logits
    own = [("good", "bad")[position] for position in logits_NC.argmax(dim=-1)]
    assert set(own) == {"good", "bad"}
    labelled = [row | {"label": label} for row, label in zip(rows, own, strict=True)]
    prepared = prepare_rows("text-classification", labelled, labelled, model={"name": "perfect"})
    model = prepared.pretrained.new_model(seed=0, number=0)
    assert evaluate(model, prepared.task, prepared.validation, "fp32")["accuracy"] == 1.0


def test_tags_and_several_classes_go_by_name_too(prepare_rows: PrepareRows, task_models: Path) -> None:
    tags = save_named(task_models / "tags", {0: "O", 1: "B-X"}, auto_class=AutoModelForTokenClassification)
    several = save_named(task_models / "several", {0: "glad", 1: "calm"})
    for task, rows, directory, auto_class in (
        ("token-classification", TAGGED, tags, AutoModelForTokenClassification),
        ("text-classification", MULTI, several, AutoModelForSequenceClassification),
    ):
        model = prepare_rows(task, rows, rows, model={"name": directory.name}).pretrained.model
        before = reopened(directory, auto_class).classifier
        torch.testing.assert_close(model.classifier.weight, before.weight.flip(0))
        torch.testing.assert_close(model.classifier.bias, before.bias.flip(0))


@pytest.mark.parametrize("names", [("POSITIVE", "NEGATIVE"), ("calm", "glad", "sad")])
def test_a_head_for_other_classes_is_new_and_told(
    prepare_rows: PrepareRows, task_models: Path, names: tuple[str, ...]
) -> None:
    directory = task_models / "others"
    shutil.rmtree(directory, ignore_errors=True)
    save_named(directory, dict(enumerate(names)))
    prepared = prepare_rows("text-classification", SINGLE, SINGLE, model={"name": "others"})
    assert prepared.pretrained.missing == {"classifier.weight", "classifier.bias"}
    note = (
        f"the checkpoint's head is for the classes {', '.join(names)}, and the data have calm, glad: a new head starts"
    )
    assert any(warning.startswith(note) for warning in prepared.facts.warnings)


def test_a_body_without_a_head_is_told_nothing(root: Path) -> None:
    tiny.save_bert(root / "body", id2label={0: "yes", 1: "no"})
    assert prepare(tiny.make_spec(model={"name": "body"}), roots=[root], device=tiny.CPU).facts.warnings == []


@pytest.mark.parametrize(
    ("own", "wanted", "order"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["POSITIVE", "NEGATIVE"], ["negative", "positive"], [1, 0]),
        (["a", "A"], ["A", "a"], [1, 0]),
        (["a", "A"], ["a", "b"], None),
        (["a", "b", "c"], ["a", "b"], None),
        (["a", "b"], ["a", "c"], None),
    ],
)
def test_classes_are_matched_by_name(own: list[str], wanted: list[str], order: list[int] | None) -> None:
    assert match_names(own, wanted) == order


def test_what_counts_classes_is_found_by_shape() -> None:
    assert class_axes(AutoModelForImageClassification, tiny.family_config("vit", num_labels=3)) == {
        "classifier.weight": 0,
        "classifier.bias": 0,
    }
    assert class_axes(AutoModelForSequenceClassification, tiny.family_config("gpt2", num_labels=32)) == {
        "score.weight": 0
    }


def test_classes_called_as_transformers_calls_those_without_names_go_by_name(
    prepare_rows: PrepareRows, task_models: Path
) -> None:
    """Sorted as text, ``LABEL_10`` comes before ``LABEL_2``."""
    names = [f"LABEL_{n}" for n in range(11)]
    directory = save_named(task_models / "eleven", dict(enumerate(names)))
    rows = [{"text": f"word{n}", "label": name} for n, name in enumerate(names)]
    prepared = prepare_rows("text-classification", rows, rows, model={"name": "eleven"})
    before, after = reopened(directory).classifier, prepared.pretrained.model.classifier
    order = [names.index(name) for name in prepared.facts.classes]
    assert order != sorted(order)
    torch.testing.assert_close(after.weight, before.weight[order])


@pytest.mark.parametrize("is_named", [True, False])
def test_the_order_of_classes_without_names_is_told_unless_they_are_numbered(
    prepare_rows: PrepareRows, task_models: Path, is_named: bool
) -> None:
    save_named(task_models / "unnamed", {0: "LABEL_0", 1: "LABEL_1"})
    names = ("calm", "glad") if is_named else ("0", "1")
    rows = [{"text": f"word{n}", "label": names[n % 2]} for n in range(6)]
    prepared = prepare_rows("text-classification", rows, rows, model={"name": "unnamed"})
    assert prepared.pretrained.missing == frozenset()
    told = [warning for warning in prepared.facts.warnings if "does not name its classes" in warning]
    assert [("LABEL_0 is 'calm', LABEL_1 is 'glad';" in warning) for warning in told] == [True] * is_named
