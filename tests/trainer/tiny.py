"""Models, tokenizers and data that train in milliseconds."""

import csv
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from service.contract.study import StudySpec

CPU = torch.device("cpu")
CLASSES = ("angry", "calm", "glad")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORDS = (*CLASSES, *(f"word{n}" for n in range(40)))
_VOCABULARY = {word: position for position, word in enumerate((*_SPECIAL, *_WORDS))}

Example = tuple[str, str]
"""Text and label."""


def make_config(**overrides: Any) -> BertConfig:
    return BertConfig(
        **{
            "vocab_size": len(_VOCABULARY),
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "initializer_range": 0.2,
        }
        | overrides
    )


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordPiece(_VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, _VOCABULARY[name]) for name in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def save(model: PreTrainedModel, directory: Path) -> Path:
    model.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def save_bert(directory: Path, **overrides: Any) -> Path:
    """A body without a head, as a pretrained model comes."""
    torch.manual_seed(0)
    return save(BertModel(make_config(**overrides)), directory)


def save_classifier(directory: Path, **overrides: Any) -> Path:
    """A body with a head for ``CLASSES``, so that nothing is left to draw."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(make_config(num_labels=len(CLASSES), **overrides))
    return save(model, directory)


def make_model(config: PreTrainedConfig, model_class: type[PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    return model_class(config)


def make_examples(n_rows: int, seed: int) -> list[Example]:
    """Balanced classes, told by one word, in texts of 3 to 20 words."""
    generator = random.Random(seed)
    examples = []
    for row in range(n_rows):
        label = CLASSES[row % len(CLASSES)]
        words = [*generator.choices(_WORDS[len(CLASSES) :], k=generator.randint(2, 19)), label]
        generator.shuffle(words)
        examples.append((" ".join(words), label))
    return examples


def write_csv(file: Path, examples: Iterable[Example], header: Example = ("text", "label")) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *examples])


def make_spec(**overrides: Any) -> StudySpec:
    """A study of ``model`` on train.csv, validation.csv and test.csv; dictionaries are merged."""
    body: dict[str, Any] = {
        "task": "text-classification",
        "model": {"name": "model"},
        "data": {
            "train": "train.csv",
            "validation": "validation.csv",
            "test": "test.csv",
            "max_length": 32,
        },
        "search_space": {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True}},
        "training": {"early_stopping_patience": None},
    }
    for name, value in overrides.items():
        body[name] = body.get(name, {}) | value if isinstance(value, dict) else value
    return StudySpec.model_validate(body)
