"""The pretrained model of a study, opened once per process, and a fresh copy of it for every trial."""

import copy
import importlib.util
import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from trainer.errors import ConfigError
from trainer.model.class_head import class_axes, has_own_names, match_names, reorder_classes
from trainer.model.freeze import Structure, batch_norms
from trainer.tasks.registry import AnyTask
from trainer.trial.seeds import derive_seed

_VOCABULARIES = ("tokenizer.json", "vocab*", "*.model", "*.tiktoken", "tekken.json")
"""Files of which a tokenizer that has a vocabulary needs at least one."""

AHEAD_BYTES = 2**30
"""Size of the largest model that is copied ahead: of larger ones a trial takes so long that the copy does not count."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained model as it was loaded, in host memory. Trials get copies: it is never trained itself."""

    model: PreTrainedModel
    """The model, with weights as the files hold them."""
    processor: Any
    """The model's tokenizer or image processor."""
    missing: frozenset[str]
    """Names of parameters that the files do not hold, such as those of a new head; each trial draws its own."""
    notes: tuple[str, ...] = ()
    """What happened to the checkpoint's own head, in words; empty where it has none."""
    seen_tokens: NDArray[np.int64] | None = None
    """Tokens that the study's trials can read, in ascending order, if the embeddings of no others need to be trained;
    ``None``: all are."""
    structure: Structure = field(default_factory=Structure, compare=False)
    """What has been found out about the models made of this one."""
    _copies: list[PreTrainedModel] = field(init=False, default_factory=list, compare=False, repr=False)
    """A copy that the next ``new_model`` takes, or nothing."""

    def copy_ahead(self) -> None:
        """Copy the model for the next ``new_model``, while nobody waits, unless it is too large to lie idle."""
        if not self._copies and self.model.get_memory_footprint() <= AHEAD_BYTES:
            self._copies.append(copy.deepcopy(self.model))

    def drop_copy(self) -> None:
        """Free the memory of ``copy_ahead``."""
        self._copies.clear()

    def new_model(self, *, seed: int, number: int) -> PreTrainedModel:
        """Copy the model and draw what it lacks, from the study's seed and the trial's number.

        A copy takes milliseconds where opening the files takes seconds, and carries nothing over from another trial:
        dropouts, frozen parameters, weights.
        """
        model = self._copies.pop() if self._copies else copy.deepcopy(self.model)
        torch.manual_seed(derive_seed("head", seed, number))
        owners = {name.rpartition(".")[0] for name in self.missing}
        for owner in sorted(owners):
            model._init_weights(model.get_submodule(owner))  # the architecture's own rule, public nowhere
        # The rule may also have drawn what lies beside a missing parameter and was loaded
        beside = {
            name: tensor
            for name, tensor in self.model.state_dict().items()
            if name.rpartition(".")[0] in owners and name not in self.missing
        }
        model.load_state_dict(beside, strict=False)
        return model


def load_pretrained(directory: Path, *, task: AnyTask, processor: Any) -> Pretrained:
    """Open a model for ``task`` in fp32, safetensors only, with no code but transformers'.

    Args:
        processor: the model's image processor, or its tokenizer, whose padding the model takes.

    Raises:
        ConfigError: the files cannot be opened as a model of this task.
    """
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        _check_padding(directory, config, task, processor)
        pads = not task.reads_images and hasattr(config, "pad_token_id")  # Perceiver's has none
        own_classes = tuple(name for _, name in sorted((config.id2label or {}).items()))
        model, report = task.model_class.from_pretrained(
            directory,
            **task.head(),
            **({"pad_token_id": processor.pad_token_id} if pads else {}),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # a head for another number of classes is drawn anew
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        kind = task.model_class.__name__
        if "Unrecognized configuration class" in str(error):  # and a hundred names of those that are not
            raise ConfigError(
                f"model.name: {directory} cannot be opened as {kind}: transformers has none for the architecture "
                f"{config.model_type!r}; take another model"
            ) from error
        raise ConfigError(f"model.name: {directory} cannot be opened as {kind}: {error}") from error
    _check_no_experts(directory, model)
    mismatched = {entry[0] for entry in report["mismatched_keys"]}
    body = {name for name in mismatched if name.startswith(f"{model.base_model_prefix}.")}
    if body:
        raise ConfigError(
            f"model.name: config.json and weights of {directory} disagree on the shape of "
            f"{', '.join(sorted(body))}; save the model again"
        )
    absent = frozenset(report["missing_keys"]) | mismatched
    _check_statistics(directory, model, absent)
    missing = absent & dict(model.named_parameters(remove_duplicate=False)).keys()  # the rest is buffers
    _check_finite(directory, model, missing)
    if not task.reads_images:
        _let_padding_train(model, config)
    pretrained = Pretrained(model=model, processor=processor, missing=missing)
    if not task.class_names or not own_classes:
        return pretrained
    axes = class_axes(task.model_class, model.config)
    has_head = mismatched >= axes.keys() or missing.isdisjoint(axes)
    return _with_own_head(pretrained, axes, own_classes, task.class_names) if has_head else pretrained


def _with_own_head(
    pretrained: Pretrained, axes: dict[str, int], own: Sequence[str], wanted: Sequence[str]
) -> Pretrained:
    """Put the classes of the checkpoint's head into the study's order, or leave the head out if they are others; of
    classes without names only their number can be compared."""
    order = match_names(own, wanted)
    if order is not None:
        reorder_classes(pretrained.model, axes, order)
        return pretrained
    if not has_own_names(own):
        return replace(pretrained, notes=_taken_in_order(own, wanted) if pretrained.missing.isdisjoint(axes) else ())
    note = (
        f"the checkpoint's head is for the classes {_listed(own)}, and the data have {_listed(wanted)}: a new head "
        "starts at random"
    )
    return replace(pretrained, missing=pretrained.missing | axes.keys(), notes=(note,))


def _taken_in_order(own: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Say how classes without names are read, unless the study numbers its classes as the checkpoint does."""
    if list(wanted) == [str(position) for position in range(len(wanted))]:
        return ()
    pairs = [f"{name} is {meant!r}" for name, meant in zip(own, wanted, strict=True)]
    note = (
        f"the checkpoint's head does not name its classes, and is taken to have them in the study's order: "
        f"{_listed(pairs)}; if it was trained with another, write the names into id2label of its config.json"
    )
    return (note,)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _check_padding(directory: Path, config: PreTrainedConfig, task: AnyTask, processor: Any) -> None:
    size = None if task.reads_images else getattr(config.get_text_config(), "vocab_size", None)
    if size is not None and processor.pad_token_id >= size:
        raise ConfigError(
            f"model.name: the padding token of the tokenizer in {directory}, {processor.pad_token!r}, is number "
            f"{processor.pad_token_id}, and the model knows only {size} tokens; resize its embeddings and save it "
            "again, or choose another padding token"
        )


def _check_statistics(directory: Path, model: PreTrainedModel, absent: Collection[str]) -> None:
    without = [name for name in batch_norms(model) if f"{name}.running_mean" in absent]
    if without:
        raise ConfigError(
            f"model.name: {directory} lacks the statistics of {without[0]}, a batch normalisation, which fine-tuning "
            "keeps as they are and does not learn; take a checkpoint that has this layer, such as one that was "
            "fine-tuned already"
        )


def _let_padding_train(model: PreTrainedModel, config: PreTrainedConfig) -> None:
    """Freeze no embedding for being that of the tokenizer's padding, which may be the end of each turn of a chat, too;
    the one that the checkpoint's own ``config`` pads with stays frozen, as in plain transformers."""
    embeddings = input_embeddings(model)
    if getattr(embeddings, "padding_idx", None) is not None:
        own = getattr(config.get_text_config(), "pad_token_id", None)
        embeddings.padding_idx = own if own is not None and own >= 0 else None


def _check_finite(directory: Path, model: PreTrainedModel, missing: Collection[str]) -> None:
    loaded = ((name, parameter) for name, parameter in model.named_parameters() if name not in missing)
    # A sum is not finite where a number is not; of weights it overflows for no other reason
    broken = [name for name, parameter in loaded if not bool(parameter.sum().isfinite())]
    if broken:
        raise ConfigError(
            f"model.name: {len(broken)} tensors of {directory} hold numbers that are not finite, such as {broken[0]}, "
            "so every loss would be NaN; take the model from before it diverged, or save it again in another precision"
        )


def _check_no_experts(directory: Path, model: PreTrainedModel) -> None:
    for name in ("router_aux_loss_coef", "output_router_logits"):
        if hasattr(model.config.get_text_config(), name):
            raise ConfigError(
                f"model.name: {directory} is a mixture of experts (its config has {name}), whose routers need "
                "a loss of their own; take a dense model"
            )


def load_image_processor(directory: Path) -> Any:
    """Open the image processor that computes with PIL: the same pixels with and without torchvision.

    Raises:
        ConfigError: the directory holds none.
    """
    try:
        return AutoImageProcessor.from_pretrained(
            directory, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"model.name: no image processor can be opened in {directory}: {error}") from error


def load_tokenizer(
    directory: Path, max_length: int, *, reads_special_tokens: bool, reads_pairs: bool
) -> PreTrainedTokenizerBase:
    """Open the tokenizer, which then truncates to ``max_length`` tokens when asked to truncate.

    Args:
        reads_special_tokens: whether special tokens that stand in a text, such as ``</s>``, are those tokens; if not,
            they are text like any other.
        reads_pairs: whether texts come in pairs, which may need more special tokens.

    Raises:
        ConfigError: the directory holds none, or one that cannot pad or leaves no room for text.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            directory,
            model_max_length=max_length,
            split_special_tokens=not reads_special_tokens,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        if not any(file for pattern in _VOCABULARIES for file in directory.glob(pattern)):
            raise _without_vocabulary(directory) from error
        if any(directory.glob("*.model")) and importlib.util.find_spec("sentencepiece") is None:
            raise ConfigError(
                f"model.name: the tokenizer in {directory} is a SentencePiece model without a tokenizer.json, which "
                "the worker cannot open as it is: pip install sentencepiece protobuf, or save it with "
                "tokenizer.save_pretrained where these are installed"
            ) from error
        raise ConfigError(f"model.name: no tokenizer can be opened in {directory}: {error}") from error
    _check_vocabulary(directory, tokenizer)
    if tokenizer.pad_token_id is None:
        # Padding is masked, so any token serves; decoders usually lack one and have an end
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"model.name: the tokenizer in {directory} has no padding token; give it one")
    n_special = tokenizer.num_special_tokens_to_add(pair=reads_pairs)
    if max_length <= n_special:
        raise ConfigError(
            f"data.max_length = {max_length} leaves no token for text, since {n_special} are special; raise it"
        )
    return tokenizer


def forget_unread_types(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Let ``tokenizer`` give no token types to a ``model`` that cannot tell two types apart."""
    is_read = "token_type_ids" in inspect.signature(model.forward).parameters
    if not is_read or getattr(model.config, "type_vocab_size", 2) < 2:
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names  # the latter is what is saved


def _check_vocabulary(directory: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the files of the tokenizer's vocabulary are there; transformers makes up an empty one otherwise."""
    names: dict[str, str] = tokenizer.vocab_files_names  # empty for bytes and characters
    whole = names.get("tokenizer_file", "tokenizer.json")
    if not names or (directory / whole).is_file():
        return
    parts = [name for kind, name in names.items() if kind != "tokenizer_file"]
    if not parts or not all((directory / name).is_file() for name in parts):
        raise _without_vocabulary(directory)


def _without_vocabulary(directory: Path) -> ConfigError:
    return ConfigError(
        f"model.name: {directory} lacks the files of its tokenizer, such as tokenizer.json; save them there with "
        "tokenizer.save_pretrained"
    )


def known_tokens(model: PreTrainedModel) -> int | None:
    """Return how many tokens the model has embeddings of; ``None`` where it reads any number, as CANINE characters."""
    weight = getattr(input_embeddings(model), "weight", None)
    if isinstance(weight, torch.Tensor):
        return len(weight)
    known: int | None = getattr(model.config.get_text_config(), "vocab_size", None)
    return known


def input_embeddings(model: PreTrainedModel) -> Any:
    """Return what turns the input of ``model`` into vectors; ``None`` where the architecture does not say."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def max_positions(model: PreTrainedModel) -> int | None:
    """Return the tokens of the longest example that the model can read; ``None`` where nothing limits it."""
    if not getattr(model.config, "position_biased_input", True):
        return None  # DeBERTa by distances alone, of which the far ones share a bucket
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa and its kin count positions from behind the padding index
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - reserved
    return limit if limit is None or limit > 0 else None  # XLNet says -1
