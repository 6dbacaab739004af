"""Conversations become what the chat template writes, and the assistant's turns are told in it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.trainer import tiny
from tests.trainer.data.tables import write_parquet
from tests.trainer.written_rows import CHATS, TEXTS, PrepareRows
from trainer.data.chat import encode_chats
from trainer.data.rows import Rows
from trainer.errors import ConfigError, DataError

TALK = [
    {"role": "system", "content": "word1"},
    {"role": "user", "content": "word2 word3"},
    {"role": "assistant", "content": "word4"},
    {"role": "user", "content": "word5"},
    {"role": "assistant", "content": "word6 word7"},
]
MARKED = tiny.CHAT_TEMPLATE
UNMARKED = re.sub(r"{% (end)?generation %}", "", MARKED)
WITH_A_BLANK = MARKED.replace("[SEP]{% endgeneration %} ", "[SEP] {% endgeneration %}")
FORGETFUL = UNMARKED.replace(
    "{{ message.content }}", "{{ message.content if loop.last or message.role != 'assistant' else 'word9' }}"
)
STRICT = "{{ raise_exception('no system, please') if messages[0].role == 'system' }}" + UNMARKED


def encode(
    template: str, *chats: list[dict[str, Any]]
) -> tuple[PreTrainedTokenizerFast, list[list[int]], list[list[str]]]:
    """The tokenizer, the tokens of each conversation, and those of the assistant."""
    tokenizer = tiny.make_chat_tokenizer(template)
    rows = Rows(source="train.jsonl", inputs=[json.dumps(chat) for chat in chats], targets=[None] * len(chats))
    ids, own, _ = encode_chats(rows, tokenizer)
    learnt = [
        tokenizer.convert_ids_to_tokens(np.array(ids_T)[own_T].tolist()) for ids_T, own_T in zip(ids, own, strict=True)
    ]
    return tokenizer, ids, learnt


@pytest.mark.parametrize("template", [MARKED, UNMARKED, WITH_A_BLANK])
def test_the_turns_of_the_assistant_are_told(template: str) -> None:
    tokenizer, ids, learnt = encode(template, TALK, TALK[1:3])
    assert ids == [tokenizer.apply_chat_template(chat, return_dict=False) for chat in (TALK, TALK[1:3])]
    assert learnt == [["word4", "[SEP]", "word6", "word7", "[SEP]"], ["word4", "[SEP]"]]


def test_of_many_conversations_each_has_its_own_turns() -> None:
    chats = [
        [{"role": "user", "content": "word1"}, {"role": "assistant", "content": f"word{n % 40}"}] for n in range(1003)
    ]
    _, _, learnt = encode(MARKED, *chats)
    assert learnt == [[f"word{n % 40}", "[SEP]"] for n in range(1003)]


def test_a_mark_is_what_transformers_takes_it_for() -> None:
    tokenizer, _, (learnt, _) = encode(MARKED, TALK, TALK[1:3])
    plain = tokenizer.apply_chat_template(TALK, return_assistant_tokens_mask=True, return_dict=True)
    mask_T = np.array(plain["assistant_masks"], dtype=bool)
    assert learnt == tokenizer.convert_ids_to_tokens(np.array(plain["input_ids"])[mask_T].tolist())


def test_a_token_that_begins_in_the_prompt_counts_where_the_assistant_ends_it() -> None:
    _, _, (learnt,) = encode(
        "{{ messages[0].content }}{{ messages[1].content if messages | length > 1 }}",
        [{"role": "user", "content": "word2 word"}, {"role": "assistant", "content": "1 word3"}],
    )
    assert learnt == ["word1", "word3"]


def test_a_template_that_rewrites_the_beginning_is_refused(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path, FORGETFUL)
    assert encode(FORGETFUL, TALK[1:3])[2] == [["word4", "[SEP]"]]
    message = "model.name: its chat template does not mark the assistant's turns, and writes the beginning of a "
    message += "conversation otherwise when it goes on (train.jsonl, row 4, message 3)"
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare_rows("causal-lm", [*CHATS[:3], {"messages": TALK}], CHATS, model=model)


def test_a_tokenizer_without_a_template_is_refused(prepare_rows: PrepareRows) -> None:
    with pytest.raises(ConfigError, match=r"has no chat template.*put a chat_template\.jinja beside the tokenizer"):
        prepare_rows("causal-lm", CHATS, CHATS)


def test_what_the_template_refuses_is_refused_by_row(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path, STRICT)
    with pytest.raises(DataError, match=r"train.jsonl, row 7: the chat template .* refuses .*no system, please"):
        prepare_rows("causal-lm", [*CHATS, {"messages": TALK}], CHATS, model=model)


def test_conversations_are_found_without_being_named(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path, MARKED)
    found = prepare_rows("causal-lm", CHATS, CHATS[:2], model=model)
    renamed = [{"talk": row["messages"]} for row in CHATS]
    told = prepare_rows("causal-lm", renamed, renamed[:2], model=model, data={"columns": {"messages": "talk"}})
    assert found.train.inputs_sha256 == told.train.inputs_sha256
    assert (found.facts.columns, told.facts.columns) == ({"messages": "messages"}, {"messages": "talk"})
    (warning,) = set(found.facts.warnings) - set(told.facts.warnings)
    assert warning == "train.jsonl has no text, so its messages are read"
    assert (
        "2 of 2 validation conversations also occur in train; validation looks better than it is" in told.facts.warnings
    )
    beside = [row | text for row, text in zip(CHATS, TEXTS, strict=True)]
    assert prepare_rows("causal-lm", beside, beside, model=model).facts.columns == {"text": "text"}


def test_null_values_of_a_parquet_file_are_no_values(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path, MARKED)
    talks = [[message | {"name": None} for message in row["messages"]] for row in CHATS]
    write_parquet(tmp_path, {"messages": talks})
    files = {"train": "train.parquet", "validation": "train.parquet"}
    written, read = (prepare_rows("causal-lm", CHATS, CHATS, model=model, data=data) for data in ({}, files))
    assert read.facts.data_sha256 == written.facts.data_sha256


USER, ANSWER = CHATS[0]["messages"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (None, 'there are no messages; give a list of {"role": …, "content": …} (JSONL or Parquet)'),
        ([], "there are no messages; give a list"),
        ("hello", "messages is 'hello', not a list; give a list"),
        ([USER, "hello"], 'message 2 is \'hello\'; write {"role": …, "content": …}'),
        ([{"content": "a"}], "message 1 has no role; give system, user or assistant"),
        (
            [{"from": "human", "value": "a"}],
            "message 1 has no role; rename from to role and value to content, human to user",
        ),
        ([USER, {"role": "assistant"}], "message 2 has no content; write a text"),
        (
            [USER, {"role": "assistant", "content": [{"type": "text"}]}],
            "message 2 has the content [{'type': 'text'}], which is no text",
        ),
        ([USER], "no message has the role 'assistant', so there is nothing to learn"),
        ([ANSWER, USER, ANSWER], "the first message is the assistant's, which answers nothing"),
        ([USER, ANSWER | {"content": "a\ud83d"}], "the conversation holds half of a surrogate pair"),
        (
            [USER | {"content": "word1 " * 40}, ANSWER],
            "within data.max_length = 32 tokens nothing is left to learn from",
        ),
    ],
)
def test_bad_conversations_are_refused_by_row(
    prepare_rows: PrepareRows, tmp_path: Path, messages: Any, message: str
) -> None:
    model = save_chat_model(tmp_path, MARKED)
    with pytest.raises(DataError, match=re.escape("train.jsonl, row 7: " + message)):
        prepare_rows("causal-lm", [*CHATS, {"messages": messages}], CHATS, model=model)


def test_a_silent_assistant_is_told(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path, MARKED)
    silent = {"messages": [USER, ANSWER | {"content": " "}]}
    warnings = prepare_rows("causal-lm", [*CHATS, silent], CHATS, model=model).facts.warnings
    assert "1 of 7 train conversations are empty; the model can only guess there" in warnings


@pytest.mark.parametrize("template", [MARKED, UNMARKED])
@pytest.mark.parametrize(("forgotten", "is_told"), [("system", True), ("user", True), ("none", False)])
def test_messages_that_the_template_does_not_write_are_told(
    prepare_rows: PrepareRows, tmp_path: Path, template: str, forgotten: str, is_told: bool
) -> None:
    written = "{{ message.content.strip() }}"
    template = template.replace(
        "{{ message.content }}", f"{{% if message.role != {forgotten!r} %}}{written}{{% endif %}}"
    )
    model = save_chat_model(tmp_path, template)
    rows = [
        {"messages": [{"role": "system", "content": f" word{(6, 9)[n % 2]} word9 "}, *row["messages"]]}
        for n, row in enumerate(CHATS)
    ]
    warnings = prepare_rows("causal-lm", rows, rows[:2], model=model).facts.warnings
    told = [warning for warning in warnings if "leaves out or changes messages of" in warning]
    expected = ["of 6 of 6 train conversations", "of 2 of 2 validation conversations"] if is_told else []
    assert len(told) == len(expected)
    assert all(count in warning for count, warning in zip(expected, told, strict=True))


def save_chat_model(root: Path, template: str) -> dict[str, str]:
    """Save a model whose tokenizer has a chat template; what a study calls it."""
    tiny.save_family(root / "talker", "llama", AutoModelForCausalLM)
    tiny.make_chat_tokenizer(template).save_pretrained(root / "talker")
    return {"name": "talker"}
