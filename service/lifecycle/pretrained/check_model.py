"""Check the files of an uploaded model, without opening it: no code, no pickle, nothing cut off."""

import json
import struct
from pathlib import Path
from typing import Any

from service.errors import Invalid
from spezia.contract.model_rules import code_in_config
from spezia.contract.problem import FieldProblem

MAX_JSON_BYTES = 4 * 2**20
"""Size of the largest config, and of the largest header of weights; Gemma's tokenizer_config.json has 1.2 MB."""
MAX_CONTAINERS = 100_000
"""Largest number of objects and lists in one, which take 50 ms to make."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
"""JSON files that are long and hold words alone, and that only the tokenizers' own reader opens."""


def check_model(folder: Path) -> None:
    """Check what lies in the folder of an upload.

    Raises:
        Invalid: A file is missing, broken, or asks for code; the message names it.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if "config.json" not in names:
        raise _invalid("config.json is missing; save the model with save_pretrained")
    if not any(name.endswith(".safetensors") for name in names):
        raise _invalid("the weights are missing; save the model with save_pretrained, which writes safetensors")
    for name in names:
        if name.endswith(".safetensors"):
            _check_weights(folder / name)
        elif name.endswith(".json") and name not in _VOCABULARIES:
            _check_config(folder / name)


def _check_config(path: Path) -> None:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise _invalid(f"{path.name} is larger than {MAX_JSON_BYTES} bytes")
    content = _read_object(path.name, path.read_bytes())
    if field := code_in_config(content):
        raise _invalid(
            f"{path.name} asks for code of its own ({field}), which a worker never runs; upload a model whose "
            "architecture is part of transformers"
        )
    if "quantization_config" in content:
        raise _invalid(f"{path.name} says that the model is quantised; upload the model that it was made from")
    if path.name == "config.json" and not isinstance(content.get("model_type"), str):
        raise _invalid("config.json has no model_type; save the model with save_pretrained")


def _check_weights(path: Path) -> None:
    """Compare the header of a safetensors file with its size: eight bytes of length, JSON, and the tensors' bytes."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = file.read(8)
        n_header = struct.unpack("<Q", length)[0] if len(length) == 8 else size_bytes
        if not 2 <= n_header <= min(MAX_JSON_BYTES, size_bytes - 8):
            raise _invalid(f"{path.name} is no safetensors file; save the model with save_pretrained")
        header = _read_object(path.name, file.read(n_header))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    try:
        ends = [0, *(int(tensor["data_offsets"][1]) for tensor in tensors)]
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        raise _invalid(f"{path.name} is no safetensors file; save the model with save_pretrained") from None
    if 8 + n_header + max(ends) != size_bytes:
        raise _invalid(f"{path.name} is cut off: its header tells of {max(ends)} bytes of weights; send all of it")


def _read_object(name: str, content: bytes) -> dict[str, Any]:
    if content.count(b"[") + content.count(b"{") > MAX_CONTAINERS:
        raise _invalid(f"{name} has more than {MAX_CONTAINERS} objects and lists")
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        raise _invalid(f"{name} holds no JSON; save the model again") from None
    if not isinstance(read, dict):
        raise _invalid(f"{name} holds no JSON object; save the model again")
    return read


def _invalid(message: str) -> Invalid:
    return Invalid(FieldProblem(field="body", message=message))
