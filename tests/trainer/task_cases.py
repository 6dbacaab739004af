"""A tiny study of each task, and what plain transformers makes of its rows: none of our parts is used for that."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from tests.trainer import tiny

Row = dict[str, Any]
Inputs = dict[str, torch.Tensor]
NO_DROPOUT: dict[str, dict[str, Any]] = {
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "llama": {},
    "vit": {},
}
TOPICS = ("home", "sport", "work")
TAGS = ("B-PER", "I-PER", "O", "B-LOC")
MAX_LENGTH = 32
"""Tokens of the longest example, as ``tiny.make_spec`` has it."""
SIZES = {"train": 36, "validation": 14, "test": 9}


@dataclass(frozen=True, kw_only=True)
class TaskCase:
    """One study: its rows, its model, and how plain transformers reads a row."""

    id: str
    task: str
    family: str
    auto_class: Any
    make_row: Callable[[random.Random], Row]
    inputs_of: Callable[[Any, Sequence[Row], Path], Inputs]
    """Processor, rows and folder to everything that the model is called with, ``labels`` included."""
    head: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    make_tokenizer: Callable[[], PreTrainedTokenizerBase] | None = None
    """``None``: the family's own."""

    def rows(self, split: str) -> list[Row]:
        generator = random.Random(split)
        return [self.make_row(generator) for _ in range(SIZES[split])]

    def write(self, root: Path) -> None:
        """The model and the data of this study."""
        tiny.save_family(root / "model", self.family, self.auto_class, **NO_DROPOUT[self.family], **self.head)
        if self.make_tokenizer is not None:
            self.make_tokenizer().save_pretrained(root / "model")
        for split in SIZES:
            lines = []
            for number, row in enumerate(self.rows(split)):
                if "pixels" in row:
                    Image.fromarray(row["pixels"]).save(root / f"{split}{number}.png")
                    row = {"image": f"{split}{number}.png", "label": row["label"]}
                lines.append(json.dumps(row))
            (root / f"{split}.jsonl").write_text("\n".join(lines))

    def spec(self, **overrides: Any) -> dict[str, Any]:
        """Overrides for ``tiny.make_spec``."""
        data = {split: f"{split}.jsonl" for split in SIZES} | self.data
        return {"task": self.task, "data": data} | overrides

    def processor(self, directory: Path) -> Any:
        if self.family == "vit":
            return AutoImageProcessor.from_pretrained(directory, backend="pil")
        return AutoTokenizer.from_pretrained(directory)


def _words(generator: random.Random, n: int) -> list[str]:
    return [f"word{generator.randrange(40)}" for _ in range(n)]


def _labelled_text(generator: random.Random) -> tuple[str, list[str]]:
    chosen = [tiny.CLASSES[i] for i in sorted(generator.sample(range(3), k=generator.randint(0, 2)))]
    words = [*_words(generator, generator.randint(2, 14)), *chosen]
    generator.shuffle(words)
    return " ".join(words), chosen


def _padded(tokenizer: Any, rows: Sequence[Row]) -> Inputs:
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return dict(tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt"))


def _single_row(generator: random.Random) -> Row:
    text, _ = _labelled_text(generator)
    label = generator.choice(tiny.CLASSES)
    return {"text": f"{text} {label}", "label": label}


def _single_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    return _padded(tokenizer, rows) | {"labels": torch.tensor([tiny.CLASSES.index(row["label"]) for row in rows])}


def _pair_row(generator: random.Random) -> Row:
    first, second = generator.choices(tiny.CLASSES, k=2)
    texts = [[*_words(generator, generator.randint(2, 18)), name] for name in (first, second)]
    for words in texts:
        generator.shuffle(words)
    return {"text": " ".join(texts[0]), "text_pair": " ".join(texts[1]), "label": second}


def _pair_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    texts, pairs = ([row[name] for row in rows] for name in ("text", "text_pair"))
    inputs = tokenizer(texts, pairs, truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt")
    assert "token_type_ids" in inputs
    return dict(inputs) | {"labels": torch.tensor([tiny.CLASSES.index(row["label"]) for row in rows])}


def _multi_row(generator: random.Random) -> Row:
    text, labels = _labelled_text(generator)
    return {"text": text, "label": labels}


def _multi_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    labels = [[float(name in row["label"]) for name in tiny.CLASSES] for row in rows]
    return _padded(tokenizer, rows) | {"labels": torch.tensor(labels)}


def _number_row(generator: random.Random) -> Row:
    text, labels = _labelled_text(generator)
    return {"text": text, "label": len(labels) + generator.random()}


def _number_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    return _padded(tokenizer, rows) | {"labels": torch.tensor([row["label"] for row in rows])}


def _tagged_row(generator: random.Random) -> Row:
    # "word1.word2" is three tokens of the tiny tokenizer, of which the first has the tag
    tokens = [
        word if generator.random() < 0.7 else f"{word}.{word}" for word in _words(generator, generator.randint(2, 9))
    ]
    return {"tokens": tokens, "tags": [TAGS[int(token[4:].split(".")[0]) % 4] for token in tokens]}


def _tagged_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    encoded = tokenizer([row["tokens"] for row in rows], is_split_into_words=True, padding=True, return_tensors="pt")
    order = sorted(TAGS)
    labels = torch.full_like(encoded["input_ids"], -100)
    for i, row in enumerate(rows):
        seen = set()
        for place, word in enumerate(encoded.word_ids(i)):
            if word is not None and word not in seen:
                seen.add(word)
                labels[i, place] = order.index(row["tags"][word])
    return dict(encoded) | {"labels": labels}


def _image_row(generator: random.Random) -> Row:
    label = generator.randrange(3)
    noise = np.random.default_rng(generator.randrange(10**6)).integers(0, 120, (20, 24, 3))
    noise[..., label] += 100
    return {"pixels": noise.astype(np.uint8), "label": TOPICS[label]}


def _image_inputs(processor: Any, rows: Sequence[Row], root: Path) -> Inputs:
    images = [Image.fromarray(row["pixels"]) for row in rows]
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    return {"pixel_values": pixels, "labels": torch.tensor([TOPICS.index(row["label"]) for row in rows])}


def _text_row(generator: random.Random) -> Row:
    start = generator.randrange(30)
    return {"text": " ".join(f"word{start + i}" for i in range(generator.randint(2, 9)))}


def _prompt_row(generator: random.Random) -> Row:
    start = generator.randrange(30)
    words = [f"word{start + i}" for i in range(generator.randint(4, 9))]
    return {"prompt": " ".join(words[:2]), "completion": " ".join(words[2:])}


def _chat_row(generator: random.Random) -> Row:
    start = generator.randrange(30)
    messages = [{"role": "system", "content": f"word{start}"}] if start % 2 else []
    for turn in range(generator.randint(1, 2)):
        words = [f"word{start + turn + i}" for i in range(generator.randint(3, 6))]
        messages += [
            {"role": "user", "content": " ".join(words[:2])},
            {"role": "assistant", "content": " ".join(words[2:])},
        ]
    return {"messages": messages}


def _chat_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    tokenizer.pad_token = tokenizer.eos_token
    inputs = tokenizer.apply_chat_template(
        [row["messages"] for row in rows], return_assistant_tokens_mask=True, padding=True, return_tensors="pt"
    )
    is_own = inputs.pop("assistant_masks").bool()
    return dict(inputs) | {"labels": inputs["input_ids"].masked_fill(~is_own, -100)}


def _lm_inputs(tokenizer: Any, rows: Sequence[Row], root: Path) -> Inputs:
    ids, labels = [], []
    for row in rows:
        prompt = tokenizer(row["prompt"])["input_ids"] if "prompt" in row else []
        rest = tokenizer(row.get("completion", row.get("text")), add_special_tokens="text" in row)["input_ids"]
        whole = [*prompt, *rest, tokenizer.eos_token_id]
        ids.append(whole)
        labels.append([-100] * len(prompt) + whole[len(prompt) :])
    longest = max(map(len, ids))
    return {
        "input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
        "labels": torch.tensor([row + [-100] * (longest - len(row)) for row in labels]),
    }


_THREE = {"num_labels": 3}
CASES = (
    TaskCase(
        id="one-class",
        task="text-classification",
        family="bert",
        auto_class=AutoModelForSequenceClassification,
        make_row=_single_row,
        inputs_of=_single_inputs,
        head=_THREE,
    ),
    TaskCase(
        id="pairs",
        task="text-classification",
        family="bert",
        auto_class=AutoModelForSequenceClassification,
        make_row=_pair_row,
        inputs_of=_pair_inputs,
        head=_THREE,
        make_tokenizer=tiny.make_typing_tokenizer,
    ),
    TaskCase(
        id="several-classes",
        task="text-classification",
        family="bert",
        auto_class=AutoModelForSequenceClassification,
        make_row=_multi_row,
        inputs_of=_multi_inputs,
        head=_THREE | {"problem_type": "multi_label_classification"},
    ),
    TaskCase(
        id="regression",
        task="text-regression",
        family="gpt2",
        auto_class=AutoModelForSequenceClassification,
        make_row=_number_row,
        inputs_of=_number_inputs,
        head={"num_labels": 1, "problem_type": "regression", "pad_token_id": 3},
    ),
    TaskCase(
        id="tags",
        task="token-classification",
        family="bert",
        auto_class=AutoModelForTokenClassification,
        make_row=_tagged_row,
        inputs_of=_tagged_inputs,
        head={"num_labels": 4},
    ),
    TaskCase(
        id="images",
        task="image-classification",
        family="vit",
        auto_class=AutoModelForImageClassification,
        make_row=_image_row,
        inputs_of=_image_inputs,
        head=_THREE,
    ),
    TaskCase(
        id="texts-to-write",
        task="causal-lm",
        family="gpt2",  # tied embeddings
        auto_class=AutoModelForCausalLM,
        make_row=_text_row,
        inputs_of=_lm_inputs,
    ),
    TaskCase(
        id="completions",
        task="causal-lm",
        family="llama",
        auto_class=AutoModelForCausalLM,
        make_row=_prompt_row,
        inputs_of=_lm_inputs,
        data={"columns": {"prompt": "prompt", "completion": "completion"}},
    ),
    TaskCase(
        id="conversations",
        task="causal-lm",
        family="llama",
        auto_class=AutoModelForCausalLM,
        make_row=_chat_row,
        inputs_of=_chat_inputs,
        make_tokenizer=tiny.make_chat_tokenizer,
    ),
)
