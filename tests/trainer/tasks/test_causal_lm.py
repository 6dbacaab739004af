"""A language model learns what follows a prompt, and must not read it beforehand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from tests.trainer import tiny
from tests.trainer.written_rows import PROMPTED, PROMPTS, TEXTS, PrepareRows
from trainer.data.tokenised_split import IGNORED, TokenisedSplit
from trainer.errors import ConfigError
from trainer.train.prepare import prepare


def test_a_prompt_does_not_count_and_an_end_is_learnt(prepare_rows: PrepareRows) -> None:
    tokenizer = tiny.make_decoder_tokenizer()
    split = prepare_rows("causal-lm", PROMPTS, PROMPTS, **PROMPTED).train
    assert isinstance(split, TokenisedSplit)
    prompt, completion = (
        tokenizer("word0")["input_ids"],
        tokenizer("word7 word8", add_special_tokens=False)["input_ids"],
    )
    end = tokenizer.eos_token_id
    assert split.row(0).tolist() == [*prompt, *completion, end]
    assert split.collate(np.array([0]), tiny.CPU).targets.tolist() == [[IGNORED, IGNORED, *completion, end]]
    assert split.pad_id == end  # it has no padding token of its own


def test_a_model_that_reads_ahead_is_no_causal_one(prepare_rows: PrepareRows, task_models: Path) -> None:
    tiny.save_family(task_models / "ahead", "bert", AutoModelForCausalLM)
    with pytest.raises(ConfigError, match="BertLMHeadModel reads the tokens that it is to predict"):
        prepare_rows("causal-lm", TEXTS, TEXTS, model={"name": "ahead"})


def test_reading_ahead_is_looked_for_once_and_in_few_tokens(
    prepare_rows: PrepareRows, task_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    real = GPT2LMHeadModel.forward

    def forward(model: GPT2LMHeadModel, input_ids: torch.Tensor, **inputs: Any) -> Any:
        seen.append(tuple(input_ids.shape))
        return real(model, input_ids, **inputs)

    monkeypatch.setattr(GPT2LMHeadModel, "forward", forward)
    first = prepare_rows("causal-lm", [{"text": "word1 word2 " * 12}] * 4, TEXTS)
    assert seen.count((1, 16)) == 2
    seen.clear()
    prepare(first.spec, roots=[tmp_path, task_models], device=tiny.CPU, facts=first.facts)
    assert (1, 16) not in seen


def test_without_a_length_prompts_and_conversations_may_be_long(prepare_rows: PrepareRows, task_models: Path) -> None:
    tiny.save_family(task_models / "long", "gpt2", AutoModelForCausalLM, max_position_embeddings=2048)
    tiny.make_chat_tokenizer().save_pretrained(task_models / "long")
    question = "word1 " * 300
    talk = [{"role": "user", "content": question}, {"role": "assistant", "content": "word2"}]
    rows: list[tuple[dict[str, Any], int]] = [
        ({"prompt": question, "completion": "word2"}, 303),
        ({"messages": talk}, 307),
        ({"text": question}, 128),
    ]
    for row, n_tokens in rows:
        prepared = prepare_rows("causal-lm", [row] * 2, [row], model={"name": "long"}, data={"max_length": None})
        assert prepared.facts.max_tokens == n_tokens
