"""What the files of a pretrained model may be, and the hash by which it is known; for uploads and for workers."""

import hashlib
import re
from collections.abc import Mapping

FILE_NAME = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|(generation_|tokenizer_|preprocessor_|processor_)?config\.json"
    r"|tokenizer\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt"
    r"|(tokenizer|spiece|sentencepiece\.bpe|spm)\.model|chat_template\.jinja"
)
"""Names that a file of an uploaded model may have: weights, config and tokenizer, as ``save_pretrained`` calls them."""

_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code")
"""Fields by which transformers finds Python files of a model, or is told to run them."""
_IMPLEMENTATION = "_implementation"
"""Part of the fields that choose kernels; a value with a slash in it names a repository, whose code would be run."""


def identity(sha256s: Mapping[str, str]) -> str:
    """Return the SHA-256 of a model, over the names of its files and the SHA-256 of each."""
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(sha256s.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def code_in_config(content: object) -> str | None:
    """Return the field by which a JSON file of a model would have code of its own run; ``None``: it has none."""
    if isinstance(content, list):
        return next((found for one in content if (found := code_in_config(one))), None)
    if not isinstance(content, dict):
        return None
    for name, value in content.items():
        if name in _CODE or (_IMPLEMENTATION in name and _names_repository(value)):
            return str(name)
        if found := code_in_config(value):
            return found
    return None


def _names_repository(value: object) -> bool:
    values = value.values() if isinstance(value, dict) else [value]
    return any("/" in str(one) for one in values)
