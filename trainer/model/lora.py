"""Low-rank adapters (LoRA, Hu et al. 2021), by peft: put into a model, saved, merged."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.errors import ConfigError
from trainer.trial.config import TrialConfig

_ADAPTER = "default"
"""peft's name of the only adapter."""


def adaptable_layers(model: PreTrainedModel, blocks: list[nn.Module], targets: str) -> list[str]:
    """Return the names of the linear layers of ``blocks`` that get an adapter.

    Args:
        targets: value of the hyperparameter ``lora_targets``.

    Raises:
        ConfigError: there are none.
    """
    inside = {module: path for block in blocks for path, module in block.named_modules()}
    found = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and module in inside
        and (targets == "all-linear" or "attention" in inside[module] or "attn" in inside[module])
    ]
    if not found:
        cure = "use another method" if targets == "all-linear" else "set lora_targets to all-linear"
        raise ConfigError(
            f"method lora: what is not frozen of the architecture {model.config.model_type!r} has no layer that "
            f"lora_targets = {targets} would adapt; freeze fewer blocks, or {cure}"
        )
    return found


def add_adapters(
    model: PreTrainedModel, config: TrialConfig, blocks: list[nn.Module], missing: Collection[str]
) -> LoraConfig:
    """Put an adapter into each linear layer of ``blocks`` that ``config`` targets; it adds nothing at first.

    Args:
        missing: names of parameters that the pretrained model lacks and that train by themselves; their layers get
            none.

    Raises:
        ConfigError: there is no such layer.
    """
    layers = [
        name
        for name in adaptable_layers(model, blocks, config.lora_targets)
        if not any(own.rpartition(".")[0] == name for own in missing)
    ]
    return insert_adapters(
        model,
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha_ratio * config.lora_rank,  # type: ignore[arg-type]  # divided by the rank
            lora_dropout=config.lora_dropout,
            target_modules=layers,
            fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in layers),
        ),
    )


def insert_adapters(model: PreTrainedModel, lora: LoraConfig) -> LoraConfig:
    """Put the adapters that ``lora`` describes into ``model``, and return ``lora``."""
    inject_adapter_in_model(lora, model, _ADAPTER)
    return lora


def adapters_of(model: PreTrainedModel) -> LoraConfig | None:
    """Return what describes the adapters of ``model``; ``None`` if it has none."""
    found: LoraConfig | None = getattr(model, "peft_config", {}).get(_ADAPTER)
    return found


def trainable_parameters(model: PreTrainedModel) -> set[nn.Parameter]:
    """Return the adapters, and the head that lies outside the body; the output layer of a language model is no head."""
    adapters = {parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    body = set(model.base_model.parameters())
    output = model.get_output_embeddings()
    if output is not None:
        body |= set(output.parameters())
    return adapters | (set(model.parameters()) - body)


def save_adapter(model: PreTrainedModel, lora: LoraConfig, trained: Collection[str], directory: Path) -> None:
    """Write a folder that ``PeftModel.from_pretrained`` opens over the base model.

    Args:
        trained: names of what the trial trained, of which the adapter takes the parameters.
    """
    parameters = dict(model.named_parameters())
    own = {name: parameters[name].detach().cpu().contiguous() for name in trained if name in parameters}
    heads = sorted({name.rpartition(".")[0] for name in own if ".lora_" not in name})
    described = replace(lora, modules_to_save=heads or None, inference_mode=True)
    directory.mkdir(parents=True)
    described.save_pretrained(str(directory))
    file = directory / "adapter_model.safetensors"
    save_file({f"base_model.model.{_saved_name(name)}": tensor for name, tensor in own.items()}, file)


def merge_adapters(model: PreTrainedModel) -> None:
    """Add to the weights of ``model`` what its adapters do, and take the adapters out."""
    for name, layer in list(_adapted_layers(model)):
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())


def _adapted_layers(model: PreTrainedModel) -> Iterator[tuple[str, LoraLayer]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _saved_name(name: str) -> str:
    return name.replace(f".{_ADAPTER}.", ".") if ".lora_" in name else name
