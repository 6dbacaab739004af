"""Conversations as the model's chat template writes them, and which of their tokens are the assistant's.

N = rows, T = tokens of one row.
"""

import json
import re
from typing import Any

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from trainer.data.label_and_text_checks import check_text
from trainer.data.rows import BadRow, Rows
from trainer.errors import ConfigError, DataError

Chat = str
"""The messages of a conversation as JSON, which can be compared and hashed."""

Message = dict[str, Any]

Span = tuple[int, int]
"""Place in a text of its first character, and of the one behind its last."""

_CHUNK = 1_000
"""Number of conversations whose tokens are told by their places at a time: places take five times the memory of ids."""

_MARKS_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""What a template writes before a turn of the assistant, if it marks them; transformers looks for the same."""

_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, KeyError)
"""What a template raises for messages that it does not take: of its own accord, or because it does not expect them."""


class _NoBeginning(Exception):
    """A template does not begin a conversation as it writes its beginning alone."""


def check_messages(value: Any) -> Chat:
    """Return a list of messages, each with a ``role`` and a ``content``; values that are null are left out.

    Raises:
        BadRow: it is no such list, or the assistant has no turn that answers another.
    """
    if not isinstance(value, list) or not value:
        found = "there are no messages" if value is None or value == [] else f"messages is {value!r}, not a list"
        raise BadRow(f'{found}; give a list of {{"role": …, "content": …}} (JSONL or Parquet)')
    messages = [_check_message(number, message) for number, message in enumerate(value, start=1)]
    if messages[0]["role"] == "assistant":
        raise BadRow(
            "the first message is the assistant's, which answers nothing; begin with the system's or the user's"
        )
    if not any(message["role"] == "assistant" for message in messages):
        raise BadRow(
            "no message has the role 'assistant', so there is nothing to learn; add its answer or remove the row"
        )
    try:
        return check_text(json.dumps(messages, ensure_ascii=False), "conversation")
    except TypeError as error:
        raise BadRow(f"a message holds what JSON cannot ({error}); give texts") from None


def is_silent(chat: Chat) -> bool:
    """Whether the assistant says nothing in ``chat``."""
    own = [message for message in json.loads(chat) if message["role"] == "assistant"]
    return not any(message.get("content", "").strip() or message.get("tool_calls") for message in own)


def encode_chats(
    rows: Rows[Chat, Any], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[list[int]], list[NDArray[np.bool_]], int]:
    """Return the token ids of each conversation, which of its tokens ``[T]`` are the assistant's, and how many
    conversations have a message that the template does not write as it is.

    The assistant's are what the template marks by ``{% generation %}``, or, where it marks nothing, what it adds to the
    messages before a turn and the prompt for it (``add_generation_prompt``) when the turn is there.

    Raises:
        ConfigError: the tokenizer has no chat template, or one that marks nothing and writes the beginning of a
            conversation otherwise when it goes on, or it cannot say where in the text a token stands.
        DataError: the template refuses the messages of a row; the message names file and row.
    """
    template = _template_of(tokenizer)
    spans_of = _marked_spans if _MARKS_GENERATION.search(template) else _added_spans
    written = []
    n_altered = 0
    for row, chat in enumerate(rows.inputs):
        messages = json.loads(chat)
        try:
            written.append(spans_of(tokenizer, template, messages))
        except _TEMPLATE_ERRORS as error:
            raise DataError(
                f"{rows.place(row)}: the chat template of the model refuses the messages ({error}); correct the row, "
                "or take another model"
            ) from error
        except _NoBeginning as error:
            raise ConfigError(
                "model.name: its chat template does not mark the assistant's turns, and writes the beginning of a "
                f"conversation otherwise when it goes on ({rows.place(row)}, {error}), so they cannot be told apart; "
                "put {% generation %} and {% endgeneration %} around them in the template, or give prompt and "
                "completion"
            ) from None
        n_altered += not _has_all(written[-1][0], messages)
    ids, own = [], []
    for start in range(0, len(written), _CHUNK):
        texts, spans = zip(*written[start : start + _CHUNK], strict=True)
        # verbose=False: conversations longer than the model are expected here, and counted
        encoded = tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        ids += encoded["input_ids"]
        own += list(map(_tokens_in, spans, encoded["offset_mapping"]))
    return ids, own, n_altered


def _has_all(text: str, messages: list[Message]) -> bool:
    """Whether ``text`` has the content of each of ``messages``, blanks around it aside."""
    return all(message.get("content", "").strip() in text for message in messages)


def _template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    if not tokenizer.is_fast:
        raise ConfigError(
            "model.name: its tokenizer cannot say which part of a text a token belongs to, so the assistant's turns "
            "cannot be told; take a model with a fast tokenizer, or give prompt and completion"
        )
    try:
        template: str = tokenizer.get_chat_template()
    except ValueError as error:
        raise ConfigError(
            "model.name: its tokenizer has no chat template, so messages cannot become a text; take a model that was "
            "trained for chat (its name often ends in Instruct or Chat), put a chat_template.jinja beside the "
            "tokenizer, or give prompt and completion"
        ) from error
    return template


def _marked_spans(tokenizer: PreTrainedTokenizerBase, template: str, messages: list[Message]) -> tuple[str, list[Span]]:
    """Return a conversation as text, and the spans that its template marks.

    Not by ``apply_chat_template``, whose mask of tokens goes on to the end of the conversation where a span ends in a
    blank that no token holds.
    """
    (text,), (spans,) = render_jinja_template(
        [messages], chat_template=template, return_assistant_tokens_mask=True, **tokenizer.special_tokens_map
    )
    return text, spans


def _added_spans(tokenizer: PreTrainedTokenizerBase, template: str, messages: list[Message]) -> tuple[str, list[Span]]:
    """Return a conversation as text, and the spans that each turn of the assistant adds to what is before it."""

    def write(n_messages: int, **options: bool) -> str:
        text: str = tokenizer.apply_chat_template(
            messages[:n_messages], chat_template=template, tokenize=False, **options
        )
        return text

    whole = write(len(messages))
    spans = []
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            before, until = write(turn, add_generation_prompt=True), write(turn + 1)
            if not (whole.startswith(until) and until.startswith(before)):
                raise _NoBeginning(f"message {turn + 1}")
            spans.append((len(before), len(until)))
    return whole, spans


def _tokens_in(spans: list[Span], offsets: list[Span]) -> NDArray[np.bool_]:
    """Return which tokens ``[T]`` lie in one of the spans, at least in part."""
    starts_T, ends_T = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    own_T = np.zeros(len(offsets), dtype=bool)
    for start, end in spans:
        own_T |= (starts_T < end) & (ends_T > start)
    return own_T


def _check_message(number: int, message: Any) -> Message:
    if not isinstance(message, dict):
        raise BadRow(f'message {number} is {message!r}; write {{"role": …, "content": …}}')
    given: Message = {name: value for name, value in message.items() if value is not None}
    if not isinstance(given.get("role"), str):
        hint = "; rename from to role and value to content, human to user and gpt to assistant"
        raise BadRow(f"message {number} has no role{hint if 'from' in given else ''}; give system, user or assistant")
    content = given.get("content", "" if "tool_calls" in given else None)
    if not isinstance(content, str):
        found = "has no content" if content is None else f"has the content {content!r}, which is no text"
        raise BadRow(f"message {number} {found}; write a text")
    return given
