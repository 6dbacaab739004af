"""What a model's files may be called and say, and its hash."""

from typing import Any

import pytest

from spezia.contract.model_files import IDENTITY
from spezia.contract.model_rules import FILE_NAME, code_in_config, identity


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json"),
        *("generation_config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"),
        *("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model"),
        *("sentencepiece.bpe.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    ],
)
def test_what_save_pretrained_writes_is_a_file_of_a_model_and_counts_in_its_hash(name: str) -> None:
    assert FILE_NAME.fullmatch(name)
    assert any(name.endswith(pattern.removeprefix("*")) for pattern in IDENTITY)


@pytest.mark.parametrize(
    "name",
    [
        *("modeling_x.py", "pytorch_model.bin", "model.pt", "adapter_model.safetensors", "adapter_config.json", ""),
        *(
            "../config.json",
            "a/config.json",
            ".config.json",
            "config.json\n",
            "CONFIG.JSON",
            "optimizer.pt",
            "config.json ",
        ),
    ],
)
def test_what_may_be_code_or_lie_elsewhere_is_none(name: str) -> None:
    assert not FILE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"model_type": "bert", "hidden_size": 8}, None),
        ({"auto_map": {}}, "auto_map"),
        ({"text_config": {"auto_map": {}}}, "auto_map"),
        ([{"a": [{"trust_remote_code": True}]}], "trust_remote_code"),
        ({"custom_pipelines": {}}, "custom_pipelines"),
        ({"custom_generate": "owner/name"}, "custom_generate"),
        ({"attn_implementation": "sdpa", "_attn_implementation_internal": None}, None),
        ({"attn_implementation": "owner/name:kernel"}, "attn_implementation"),
        ({"vision_config": {"_attn_implementation": {"": "owner/name"}}}, "_attn_implementation"),
        ({"experts_implementation": "owner/name"}, "experts_implementation"),
        ("auto_map", None),
    ],
)
def test_a_config_that_asks_for_code_is_found_however_deep(content: Any, found: str | None) -> None:
    assert code_in_config(content) == found


def test_a_hash_is_of_names_and_contents_and_of_no_order() -> None:
    assert identity({"a": "1", "b": "2"}) == identity({"b": "2", "a": "1"})
    assert (
        len({identity({"a": "1", "b": "2"}), identity({"a": "2", "b": "1"}), identity({"a": "1"}), identity({})}) == 4
    )
