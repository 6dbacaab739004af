"""Gives a tag to each word: the first token of a word has the word's tag, other tokens do not count.

Words are joined by single spaces and tokenised as running text, then found again by their places in it. Handed over as
lists, byte-level tokenizers (RoBERTa, ModernBERT, GPT-2) would take all words for middles of words: "world" becomes
"wor", "ld" and not " world", unless a tokenizer heeds ``add_prefix_space``, which not all do.

B = rows of a batch, T = tokens of its longest row, C = classes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModelForTokenClassification

from spezia.common.plural import plural
from trainer.data.label_and_text_checks import check_label, check_text
from trainer.data.rows import BadRow, Rows
from trainer.data.tokenise import pack_labelled
from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.errors import ConfigError, DataError
from trainer.tasks.spans import marked_otherwise, score_spans
from trainer.tasks.task import Task, class_positions

Words = tuple[str, ...]


class TokenClassification(Task[Words, Words]):
    """Examples are the words of a text, each with its tag."""

    model_class: ClassVar[Any] = AutoModelForTokenClassification
    metric_names = ("span_f1", "span_precision", "span_recall", "accuracy")
    min_classes = 2
    may_number_classes = False
    weighs_classes = True

    def check_row(self, row: Mapping[str, Any]) -> tuple[Words, Words]:
        tokens, tags = (_check_list(row[column], column) for column in ("tokens", "tags"))
        if len(tokens) != len(tags):
            raise BadRow(
                f"it has {plural(len(tokens), 'token')} and {plural(len(tags), 'tag')}; give each token one tag"
            )
        if not tokens:
            raise BadRow("there are no tokens; fill them in or remove the row")
        return tuple(check_text(token, "token") for token in tokens), tuple(check_label(tag, "tag") for tag in tags)

    def classes_of(self, target: Words) -> Iterable[str]:
        return set(target)

    def odd_classes(self, names: Sequence[str]) -> list[str]:
        warnings = []
        if "O" not in names:
            warnings.append(
                "no tag is O, so every word counts as part of a span, and span_f1 is about all of them; look at "
                "accuracy"
            )
        if others := marked_otherwise(names):
            warnings.append(
                f"tags mark spans in a way that is not read, such as {others[0]!r}, so that span_f1 takes the "
                "beginning of a span and the rest of it for two; write B-PER and I-PER"
            )
        return warnings

    def is_empty(self, example: Words) -> bool:
        return not any(word.strip() for word in example)

    def encode(self, rows: Rows[Words, Words], processor: Any, max_length: int) -> TokenisedSplit:
        """Tokenise the texts and give the first token of each word its tag.

        Raises:
            DataError: no word of a row has a token; the message names file and row.
            ConfigError: the tokenizer cannot say which token belongs to which word.
        """
        if not processor.is_fast:
            raise ConfigError(
                "model.name: its tokenizer cannot say which word a token belongs to; take a model with a fast tokenizer"
            )
        texts = [" ".join(words) for words in rows.inputs]
        encoded = processor(texts, truncation=True, max_length=max_length, return_offsets_mapping=True)
        ids: list[list[int]] = encoded["input_ids"]
        labels, n_truncated = [], 0
        for row, tags in enumerate(rows.targets):
            words = _first_tokens(rows.inputs[row], texts[row], encoded["offset_mapping"][row])
            positions = class_positions(self.class_names, tags)
            labels.append([IGNORED if word is None else positions[word] for word in words])
            n_truncated += len(encoded.encodings[row].overflowing) > 0
            if all(label == IGNORED for label in labels[-1]):
                raise DataError(f"{rows.place(row)}: no word becomes a token of the model; correct or remove the row")
        return pack_labelled(ids, labels, processor, truncated_rows=n_truncated)

    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the cross-entropy in nats of each token that counts: logits ``[B, T, C]``, targets ``[B, T]``."""
        return functional.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten(),
            weight=class_weights_C,
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the likeliest tag ``[B, T]`` of each token."""
        return logits.argmax(dim=-1)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Return F1, precision and recall of spans, and the accuracy of tags, over the words of which the model saw a
        token."""
        del loss
        pairs = [
            (predicted_T[actual_T != IGNORED], actual_T[actual_T != IGNORED])
            for predicted_BT, actual_BT in zip(predicted, actual, strict=True)
            for predicted_T, actual_T in zip(predicted_BT, actual_BT, strict=True)
        ]
        n_right = sum(int((predicted_W == actual_W).sum()) for predicted_W, actual_W in pairs)
        named = ((self._names(predicted_W), self._names(actual_W)) for predicted_W, actual_W in pairs)
        return score_spans(named) | {"accuracy": n_right / sum(len(actual_W) for _, actual_W in pairs)}

    def _names(self, positions_W: NDArray[np.int64]) -> list[str]:
        return [self.class_names[position] for position in positions_W]


def _check_list(value: Any, column: str) -> list[Any]:
    if not isinstance(value, list):
        found = f"there are no {column}" if value is None else f"{column} is {value!r}, not a list"
        raise BadRow(f"{found}; give a list of {column} (JSONL or Parquet)")
    return value


def _first_tokens(words: Words, text: str, offsets: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each token the word that begins in it, counted from 0; ``None``: it goes on with one, or is special."""
    starts = [0, *accumulate(len(word) + 1 for word in words)][:-1]
    found: list[int | None] = []
    last = -1
    for start, end in offsets:
        piece = text[start:end]
        word = bisect_right(starts, start + len(piece) - len(piece.lstrip())) - 1
        begins = bool(piece.strip()) and word > last
        found.append(word if begins else None)
        last = word if begins else last
    return found
