"""Sets every dropout of a model, wherever its architecture keeps it.

A dropout can be an ``nn.Dropout``, a float that attention hands to ``scaled_dot_product_attention``, or an
``nn.Identity`` that stands for a dropout of 0. The first kind is found; the other two are listed by family,
and whatever else is called a dropout is refused, so that a new version of an architecture cannot hide one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from trainer.errors import ConfigError

PLACES: dict[str, frozenset[str]] = {
    "bert": frozenset(),
    "camembert": frozenset(),
    "deberta-v2": frozenset(),
    "distilbert": frozenset(),
    "electra": frozenset(),
    "gpt2": frozenset(),
    "llama": frozenset({"LlamaAttention.attention_dropout"}),
    "modernbert": frozenset({"ModernBertAttention.attention_dropout", "ModernBertAttention.out_drop"}),
    "mpnet": frozenset(),
    "qwen2": frozenset({"Qwen2Attention.attention_dropout"}),
    "roberta": frozenset(),
    "vit": frozenset({"ViTAttention.attention_dropout"}),
    "xlm-roberta": frozenset(),
}
"""``Class.attribute`` of every dropout that is not an ``nn.Dropout``, by model type."""

_CONFIG_NAMES = ("hidden_dropout_prob", "dropout", "hidden_dropout", "resid_pdrop", "mlp_dropout", "attention_dropout")
"""Names that configs give to the dropout of hidden states; the first that a config has counts."""


@dataclass(frozen=True)
class _Place:
    module: nn.Module
    attribute: str

    @property
    def name(self) -> str:
        return f"{type(self.module).__name__}.{self.attribute}"


def set_dropout(model: PreTrainedModel, probability: float) -> None:
    """Give every dropout of ``model`` the same ``probability``.

    Raises:
        ConfigError: not all dropouts of the architecture are known.
    """
    for place in list(_find_places(model)):
        is_module = isinstance(getattr(place.module, place.attribute), nn.Module)
        setattr(place.module, place.attribute, nn.Dropout(probability) if is_module else probability)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability


def check_dropout_known(model: PreTrainedModel) -> None:
    """Check that ``set_dropout`` can set every dropout of ``model``.

    Raises:
        ConfigError: not all dropouts of the architecture are known.
    """
    list(_find_places(model))


def calls_dropout(model: PreTrainedModel) -> bool:
    """Whether modules of ``model`` may call dropout as a function: they hold a probability, and none of the known
    architectures, which hand theirs to attention, is theirs."""
    if model.config.model_type in PLACES:
        return False
    places = (place for module in model.modules() for place in _suspects(module))
    values = (getattr(place.module, place.attribute) for place in places)
    return any(value > 0 for value in values if isinstance(value, float | int))


def checkpoint_dropout(model: PreTrainedModel) -> float | None:
    """Return the dropout of hidden states that the model's config states; ``None`` if it states none."""
    for name in _CONFIG_NAMES:
        value = getattr(model.config, name, None)
        if isinstance(value, float | int):
            return float(value)
    return None


def _find_places(model: PreTrainedModel) -> Iterator[_Place]:
    """Yield the dropouts that are not ``nn.Dropout``."""
    model_type = model.config.model_type
    if model_type not in PLACES:
        raise ConfigError(
            f"dropout: where the architecture {model_type!r} keeps its dropouts is not known, so it cannot "
            f"be set (known are {', '.join(PLACES)}); leave dropout out, which keeps the checkpoint's own"
        )
    for module in model.modules():
        for place in _suspects(module):
            if place.name not in PLACES[model_type]:
                raise ConfigError(
                    f"dropout: {place.name} of the architecture {model_type!r} is not known to this "
                    "worker, so it cannot be set; leave dropout out, which keeps the checkpoint's own"
                )
            yield place


def _suspects(module: nn.Module) -> Iterator[_Place]:
    if isinstance(module, nn.Dropout):
        return
    for attribute, value in [*vars(module).items(), *module.named_children()]:
        named_dropout = "drop" in attribute.lower() or "drop" in type(value).__name__.lower()
        holds_one = isinstance(value, float | int | nn.Module) and not isinstance(value, bool | nn.Dropout)
        if named_dropout and holds_one:
            yield _Place(module, attribute)
