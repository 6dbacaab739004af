"""Rows of each task as people write them, good enough to train on."""

from collections.abc import Callable
from typing import Any

from trainer.train.prepare import Prepared

Rows = list[dict[str, Any]]
PrepareRows = Callable[..., Prepared]

SINGLE: Rows = [{"text": "word1", "label": "calm"}, {"text": "word2", "label": "glad"}] * 3
PAIRS: Rows = [
    {"text": "word1", "text_pair": "word2 word3", "label": "calm"},
    {"text": "word1 word2", "text_pair": "word4", "label": "glad"},
] * 3
MULTI: Rows = [{"text": "word1", "label": ["calm", "glad"]}, {"text": "word2", "label": []}] * 3
NUMBERS: Rows = [{"text": f"word{n}", "label": n} for n in range(6)]
TAGGED: Rows = [{"tokens": ["word1", "word2"], "tags": ["B-X", "O"]}] * 6
TEXTS: Rows = [{"text": f"word{n} word{n + 1}"} for n in range(6)]
CHATS: Rows = [
    {"messages": [{"role": "user", "content": f"word{n}"}, {"role": "assistant", "content": "word7 word8"}]}
    for n in range(6)
]
PROMPTS: Rows = [{"prompt": f"word{n}", "completion": "word7 word8"} for n in range(6)]


def good_rows(task: str, like: dict[str, Any]) -> Rows:
    """Six rows that can be trained on, in the form of another."""
    if task == "text-classification":
        return MULTI if isinstance(like["label"], list) else SINGLE
    if task == "causal-lm":
        return PROMPTS if "prompt" in like else TEXTS
    return {"text-regression": NUMBERS, "token-classification": TAGGED}[task]


def column(columns: dict[str, str]) -> dict[str, Any]:
    return {"data": {"columns": columns}}


PROMPTED = column({"prompt": "prompt", "completion": "completion"})
