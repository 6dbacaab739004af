"""Predicts the next token: of a text, of a completion given its prompt, or of the assistant in a conversation.

A batch's ``targets[t]`` is the token at ``t``, or ``IGNORED``; the logits at ``t`` predict ``t + 1``, as in
transformers. So the first token of a row never counts, nor does a prompt, nor what others than the assistant say.

N = counted tokens of a batch, or some of them, V = vocabulary.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from spezia.common.plural import plural
from trainer.data.chat import Chat, check_messages, encode_chats, is_silent
from trainer.data.label_and_text_checks import check_text
from trainer.data.rows import Input, Rows
from trainer.data.tokenise import encode, pack_labelled
from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.errors import DataError
from trainer.tasks.task import Task

_LARGEST_EXPONENT = 700.0

_LONG = 1_024
"""Default length where what is learnt comes behind what is given, of which less may leave nothing; TRL has the same."""


class CausalLm(Task[Input, None]):
    """A task whose examples have no target beside their own tokens."""

    model_class: ClassVar[Any] = AutoModelForCausalLM
    metric_names = ("perplexity",)
    has_new_head: ClassVar[bool] = False

    def head(self) -> dict[str, Any]:
        return {}

    def losses(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        label_smoothing: float = 0.0,
        class_weights_C: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the cross-entropy in nats ``[N]`` of next tokens ``[N]`` whose logits are ``[N, V]``."""
        del class_weights_C
        return functional.cross_entropy(
            logits, targets, ignore_index=IGNORED, reduction="none", label_smoothing=label_smoothing
        )

    def predict(self, logits: torch.Tensor) -> torch.Tensor:
        """Return nothing, since perplexity follows from the loss."""
        return logits.new_empty(0)

    def metrics(
        self, predicted: Sequence[NDArray[Any]], actual: Sequence[NDArray[Any]], loss: float
    ) -> dict[str, float]:
        """Return the perplexity, which is e to the power of the loss, capped where that leaves fp64."""
        del predicted, actual
        return {"perplexity": math.exp(min(loss, _LARGEST_EXPONENT))}


Written = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class TextLm(CausalLm[Written]):
    """Examples are pairs of a prompt, which may be empty, and what is to follow it."""

    has_prompts: bool = False
    """Whether the data has prompts and completions, instead of texts."""

    @property
    def default_length(self) -> int:
        return _LONG if self.has_prompts else super().default_length

    def check_row(self, row: Mapping[str, Any]) -> tuple[Written, None]:
        if self.has_prompts:
            return (check_text(row["prompt"], "prompt"), check_text(row["completion"], "completion")), None
        return ("", check_text(row["text"])), None

    def is_empty(self, example: Written) -> bool:
        return not example[1].strip()

    def encode(self, rows: Rows[Written, None], processor: Any, max_length: int) -> TokenisedSplit:
        """Tokenise prompt and completion apart, as generation will, and end each row with the tokenizer's end.

        Raises:
            DataError: nothing is left to predict of a row; the message names file and row.
        """
        texts = [rest for _, rest in rows.inputs]
        if self.has_prompts:
            prompts = encode(processor, [prompt for prompt, _ in rows.inputs])
            rests = encode(processor, texts, add_special_tokens=False)
        else:
            prompts = [[] for _ in texts]
            rests = encode(processor, texts)
        ids, labels, n_truncated = [], [], 0
        for prompt, rest in zip(prompts, rests, strict=True):
            whole = prompt + _ended(rest, processor)
            n_truncated += len(whole) > max_length
            ids.append(whole[:max_length])
            n_given = max(1, len(prompt))
            labels.append(([IGNORED] * n_given + whole[n_given:])[:max_length])
        _check_something_left(rows, labels, max_length)
        return pack_labelled(ids, labels, processor, truncated_rows=n_truncated, are_next_tokens=True)


class ChatLm(CausalLm[Chat]):
    """Examples are conversations, of which the assistant's turns are learnt."""

    noun = "conversations"

    @property
    def default_length(self) -> int:
        return _LONG

    def check_row(self, row: Mapping[str, Any]) -> tuple[Chat, None]:
        return check_messages(row["messages"]), None

    def is_empty(self, example: Chat) -> bool:
        return is_silent(example)

    def encode(self, rows: Rows[Chat, None], processor: Any, max_length: int) -> TokenisedSplit:
        """Write each conversation by the chat template of the tokenizer, which also decides how it ends.

        Raises:
            ConfigError: there is no such template, or it does not tell the assistant's turns.
            DataError: the template refuses a row, or nothing is left to predict of it; the message names file and row.
        """
        ids, own, n_altered = encode_chats(rows, processor)
        n_truncated = sum(len(ids_T) > max_length for ids_T in ids)
        labels = [np.where(own_T, ids_T, IGNORED)[:max_length].tolist() for ids_T, own_T in zip(ids, own, strict=True)]
        _check_something_left(rows, labels, max_length)
        ids = [ids_T[:max_length] for ids_T in ids]
        split = pack_labelled(ids, labels, processor, truncated_rows=n_truncated, are_next_tokens=True)
        return replace(split, altered_rows=n_altered)


def _ended(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    end = tokenizer.eos_token_id
    return ids if end is None or (ids and ids[-1] == end) else [*ids, end]


def _check_something_left(rows: Rows[Any, Any], labels: list[list[int]], max_length: int) -> None:
    bad = [row for row, labels_T in enumerate(labels) if all(label == IGNORED for label in labels_T)]
    if bad:
        others = f" (and {plural(len(bad) - 1, 'row')} more)" if len(bad) > 1 else ""
        raise DataError(
            f"{rows.place(bad[0])}{others}: within data.max_length = {max_length} tokens nothing is left to learn "
            "from, since there is no text to write or what comes before it fills them; raise data.max_length, or "
            "shorten or remove the row"
        )
