"""Models, tokenizers and data that train in milliseconds."""

import csv
import random
import string
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
    RobertaConfig,
    ViTConfig,
    ViTImageProcessorPil,
)

from spezia.contract.study_spec import StudySpec

CPU = torch.device("cpu")
CLASSES = ("angry", "calm", "glad")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORDS = (*CLASSES, *(f"word{n}" for n in range(40)))
_VOCABULARY = {word: position for position, word in enumerate((*_SPECIAL, *_WORDS))}
VOCABULARY_SIZE = len(_VOCABULARY)
"""Tokens that the tokenizers of the encoders and decoders here know."""

Example = tuple[str, str]
"""Text and label."""


IMAGE_SIZE = 16
"""Pixels of a side of what the tiny ViT reads."""

_SMALL: dict[str, Any] = {
    "vocab_size": len(_VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
_DISENTANGLED: dict[str, Any] = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
}
_EDGES = {"bos_token_id": 2, "eos_token_id": 3}
_FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "bert": (BertConfig, _SMALL),
    "deberta-v2": (DebertaV2Config, _SMALL | _DISENTANGLED),
    "distilbert": (DistilBertConfig, _SMALL | {"hidden_dim": 64}),
    "electra": (ElectraConfig, _SMALL | {"embedding_size": 16}),
    "gpt2": (GPT2Config, _SMALL | _EDGES | {"n_inner": 64}),
    "llama": (LlamaConfig, _SMALL | _EDGES | {"num_key_value_heads": 1}),
    "modernbert": (ModernBertConfig, _SMALL | {"global_attn_every_n_layers": 2, "local_attention": 16}),
    "qwen2": (Qwen2Config, _SMALL | _EDGES | {"num_key_value_heads": 1}),
    "roberta": (RobertaConfig, _SMALL),
    "vit": (ViTConfig, _SMALL | {"image_size": IMAGE_SIZE, "patch_size": 8}),
}
FAMILIES = tuple(_FAMILIES)
"""Architectures with a tiny random configuration."""
DECODERS = ("gpt2", "llama", "qwen2")
ENCODERS = ("bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta")


def family_config(family: str, **overrides: Any) -> PreTrainedConfig:
    """Three blocks of width 32; names of ``overrides`` as in ``BertConfig``, or the family's own."""
    config_class, values = _FAMILIES[family]
    return config_class(**values | overrides)


def make_family(family: str, auto_class: Any = AutoModelForSequenceClassification, **overrides: Any) -> PreTrainedModel:
    """A random model of ``family`` for the task of ``auto_class``, such as ``AutoModel`` for a body."""
    torch.manual_seed(0)
    model: PreTrainedModel = auto_class.from_config(family_config(family, **overrides))
    return model


def save_family(
    directory: Path, family: str, auto_class: Any = AutoModelForSequenceClassification, **overrides: Any
) -> Path:
    """Save ``make_family`` with the tokenizer, or the image processor, that it needs."""
    model = make_family(family, auto_class, **overrides)
    if family != "vit":
        return save(model, directory, _TOKENIZERS.get(family, make_tokenizer)())
    model.save_pretrained(directory)
    ViTImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}).save_pretrained(directory)
    return directory


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


def make_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordPiece(_VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, _VOCABULARY[name]) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        **options,
    )


def make_typing_tokenizer() -> PreTrainedTokenizerFast:
    """It says which text of a pair each token belongs to, as BERT's own."""
    return make_tokenizer(model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def make_decoder_tokenizer() -> PreTrainedTokenizerFast:
    """It begins texts and leaves their end open, and has no padding, as decoders' tokenizers."""
    tokenizer = Tokenizer(WordPiece(_VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", _VOCABULARY["[CLS]"])])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", bos_token="[CLS]", eos_token="[SEP]")


CHAT_TEMPLATE = """\
{%- for message in messages %}[CLS] {{ {'user': 'angry', 'assistant': 'calm', 'system': 'glad'}[message.role] }} \
{% if message.role == 'assistant' %}{% generation %}{{ message.content }} [SEP]{% endgeneration %} \
{% else %}{{ message.content }} [SEP] {% endif %}{% endfor %}\
{%- if add_generation_prompt %}[CLS] calm {% endif %}"""
"""Marks the assistant's turns; names of roles are words that the tiny tokenizer knows."""


def make_chat_tokenizer(template: str = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    tokenizer = make_decoder_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def make_qwen2_tokenizer() -> Qwen2Tokenizer:
    """One token a character: transformers opens the tokenizer of a Qwen2 as bytes and merges, whatever it was."""
    characters = ["Ġ", *string.ascii_lowercase, *string.digits]
    vocabulary = {token: position for position, token in enumerate((*_SPECIAL, *characters))}
    return Qwen2Tokenizer(vocab=vocabulary, merges=[], unk_token="[UNK]", eos_token="[SEP]", pad_token="[PAD]")


def save(model: PreTrainedModel, directory: Path, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    model.save_pretrained(directory)
    (tokenizer or make_tokenizer()).save_pretrained(directory)
    return directory


_TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": make_decoder_tokenizer,
    "llama": make_decoder_tokenizer,
    "qwen2": make_qwen2_tokenizer,
}


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


class SmallDevice:
    """Lets a model run out of memory over batches of more than ``rows`` rows."""

    def __init__(self, model: PreTrainedModel, rows: int) -> None:
        self.n_refused = 0
        self._rows = rows
        self._hook = model.base_model.register_forward_pre_hook(self._look, with_kwargs=True)

    def remove(self) -> None:
        self._hook.remove()

    def _look(self, _model: Any, _args: object, inputs: dict[str, Any]) -> None:
        if len(inputs["attention_mask"]) > self._rows:
            self.n_refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
