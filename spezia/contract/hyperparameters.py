"""Every hyperparameter that a study may search or fix: its type, bounds, default, meaning and source.

This table is the only place that says so: the service checks a spec by it, the trainer a trial, and `/docs` and
docs/hyperparameters.md show it. The bounds are what the trainer can carry out at all, not advice. Defaults are where a
search should start.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spezia.contract.schedules import SCHEDULES

ParamValue = bool | int | float | str
"""Value of a hyperparameter."""


def param_value(value: Any) -> ParamValue:
    """Return the value of a parameter that another program may have stored: as text what cannot be one, as null."""
    is_one = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if is_one else str(value)


METHODS = ("full", "head_only", "lora")
"""Values of the hyperparameter ``method``."""

BLOCK_PARAMS = ("frozen_layers", "frozen_fraction", "unfreeze", "layer_lr_decay")
"""Hyperparameters that need a model with a list of blocks."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One hyperparameter of a trial: what it means and what it may be."""

    name: str
    """Name of the hyperparameter in ``search_space``, ``fixed`` and a trial's params."""
    type: Literal["float", "int", "name", "bool"]
    """Type of the values; a ``name`` is one of ``choices``."""
    default: ParamValue | None
    """Value where a study neither searches nor fixes it; ``None``: the checkpoint's own. `default_of` knows the
    method too."""
    default_by_method: Mapping[str, ParamValue] = field(default_factory=dict)
    """Defaults in the methods that have another one than ``default``."""
    low: float = 0.0
    """Smallest value, for the types ``float`` and ``int``."""
    high: float = 1.0
    """Largest value, for the types ``float`` and ``int``."""
    low_is_open: bool = False
    """Whether ``low`` itself is excluded."""
    high_is_open: bool = False
    """Whether ``high`` itself is excluded."""
    choices: tuple[str, ...] = ()
    """Values, for the type ``name``."""
    methods: tuple[str, ...] = METHODS
    """Values of ``method`` in which a trial has the hyperparameter."""
    meaning: str
    """What the hyperparameter does, in whole sentences."""
    source: str
    """Origin of the default, or of the technique."""

    @property
    def allowed(self) -> str:
        """The allowed values in words, such as ``a number from 0 to 1, 1 excluded``."""
        if self.type == "name":
            return f"one of {', '.join(self.choices)}"
        if self.type == "bool":
            return "true or false"
        number = "a whole number" if self.type == "int" else "a number"
        ends = ((self.low, self.low_is_open), (self.high, self.high_is_open))
        open_ends = [f"{end:g}" for end, is_open in ends if is_open]
        excluded = f", {' and '.join(open_ends)} excluded" if open_ends else ""
        return f"{number} from {self.low:g} to {self.high:g}{excluded}"

    @property
    def default_in_words(self) -> str:
        """The default in words, such as ``0.0002 with lora, else 2e-05``."""
        if self.default is None:
            return "the checkpoint's own"
        own = str(self.default).lower() if self.type == "bool" else f"{self.default}"
        others = [f"{value} with {method}" for method, value in self.default_by_method.items()]
        return ", ".join([*others, f"else {own}"]) if others else own

    def problem(self, value: object) -> str | None:
        """Say what ``value`` must be where it cannot be used; ``None`` if it can."""
        return None if self._is_allowed(value) else f"must be {self.allowed}"

    def _is_allowed(self, value: object) -> bool:
        if self.type == "name":
            return isinstance(value, str) and value in self.choices
        if self.type == "bool" or isinstance(value, bool):
            return self.type == "bool" and isinstance(value, bool)
        if not isinstance(value, int if self.type == "int" else int | float):
            return False
        above = self.low < value if self.low_is_open else self.low <= value
        return above and (value < self.high if self.high_is_open else value <= self.high)


_PARTIAL = ("full", "lora")
"""Methods that train part of the body or all of it."""

_ALL = (
    Hyperparameter(
        name="method",
        type="name",
        default="full",
        choices=METHODS,
        meaning="What trains: every weight (full), the head alone (head_only), or the head and low-rank adapters of "
        "the body (lora).",
        source="BERT (Devlin et al. 2019); LoRA (Hu et al. 2022)",
    ),
    Hyperparameter(
        name="learning_rate",
        type="float",
        default=2e-5,
        default_by_method={"lora": 2e-4, "head_only": 1e-3},
        low=1e-12,
        high=1.0,
        meaning="Peak learning rate of AdamW.",
        source="BERT (Devlin et al. 2019); lora: QLoRA (Dettmers et al. 2023); head_only: ours",
    ),
    Hyperparameter(
        name="batch_size",
        type="int",
        default=16,
        low=1,
        high=65_536,
        meaning="Examples per optimizer step, however many of them fit into memory at once.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="epochs",
        type="int",
        default=3,
        low=1,
        high=1_000,
        meaning="Passes over the training data. The best evaluation counts, not the last.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="dropout",
        type="float",
        default=None,
        high_is_open=True,
        meaning="Probability of every dropout of the model outside frozen blocks; adapters have lora_dropout instead.",
        source="the checkpoint",
    ),
    Hyperparameter(
        name="weight_decay",
        type="float",
        default=0.01,
        high=10.0,
        meaning="Decoupled weight decay of AdamW: at each step, the share of a weight that is taken away, times the "
        "learning rate. Parameters of fewer than two dimensions (biases, norms) have none.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="lr_schedule",
        type="name",
        default="linear",
        choices=tuple(SCHEDULES),
        meaning="How the learning rate goes from step to step, after warm-up.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="warmup_ratio",
        type="float",
        default=0.06,
        high_is_open=True,
        meaning="Share of all optimizer steps during which the learning rate rises from 0 to its peak.",
        source="RoBERTa (Liu et al. 2019)",
    ),
    Hyperparameter(
        name="frozen_layers",
        type="int",
        default=0,
        high=1_000,
        methods=_PARTIAL,
        meaning="Number of blocks that are frozen, from the first on, and with them the embeddings; 0 freezes nothing.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="frozen_fraction",
        type="float",
        default=0.0,
        methods=_PARTIAL,
        meaning="The same as frozen_layers, as a share of the model's blocks, rounded: for search spaces that should "
        "suit any model.",
        source="Lee, Tang & Lin 2019",
    ),
    Hyperparameter(
        name="unfreeze",
        type="name",
        default="none",
        choices=("none", "gradual"),
        methods=_PARTIAL,
        meaning="Whether blocks thaw during the trial: with gradual they do from the last on, during the first third "
        "of the optimizer steps, down to those that frozen_layers keeps frozen.",
        source="ULMFiT (Howard & Ruder 2018)",
    ),
    Hyperparameter(
        name="layer_lr_decay",
        type="float",
        default=1.0,
        low_is_open=True,
        methods=_PARTIAL,
        meaning="Learning rate of each block as a share of that of the next one; the head has the full rate.",
        source="ULMFiT (Howard & Ruder 2018); ELECTRA (Clark et al. 2020)",
    ),
    Hyperparameter(
        name="label_smoothing",
        type="float",
        default=0.0,
        high_is_open=True,
        meaning="Share of the training target's probability that is spread over all classes. Reported losses lack it.",
        source="Szegedy et al. 2016",
    ),
    Hyperparameter(
        name="max_grad_norm",
        type="float",
        default=1.0,
        high=1e6,
        meaning="Largest L2 norm of the gradients of a batch; larger ones are scaled down to it, and with 0 never.",
        source="BERT (Devlin et al. 2019)",
    ),
    Hyperparameter(
        name="adam_beta2",
        type="float",
        default=0.999,
        high_is_open=True,
        meaning="Decay of AdamW's mean of squared gradients.",
        source="Adam (Kingma & Ba 2015)",
    ),
    Hyperparameter(
        name="gradient_checkpointing",
        type="bool",
        default=False,
        meaning="Whether activations are computed again in the backward pass instead of being kept, which takes less "
        "memory and more time.",
        source="Chen et al. 2016",
    ),
    Hyperparameter(
        name="lora_rank",
        type="int",
        default=16,
        low=1,
        high=4_096,
        methods=("lora",),
        meaning="Rank of the adapters.",
        source="TRL's settings of peft",
    ),
    Hyperparameter(
        name="lora_alpha_ratio",
        type="float",
        default=2.0,
        high=64.0,
        low_is_open=True,
        methods=("lora",),
        meaning="LoRA's alpha divided by the rank: the factor of what an adapter adds.",
        source="TRL's settings of peft",
    ),
    Hyperparameter(
        name="lora_dropout",
        type="float",
        default=0.0,
        high_is_open=True,
        methods=("lora",),
        meaning="Probability of the dropout in front of the adapters.",
        source="peft",
    ),
    Hyperparameter(
        name="lora_targets",
        type="name",
        default="all-linear",
        choices=("all-linear", "attention"),
        methods=("lora",),
        meaning="Linear layers that get an adapter: all of the blocks, or only those of attention.",
        source="QLoRA (Dettmers et al. 2023)",
    ),
)

HYPERPARAMETERS = {hyperparameter.name: hyperparameter for hyperparameter in _ALL}
"""All hyperparameters by name."""


def default_of(name: str, params: Mapping[str, ParamValue]) -> ParamValue | None:
    """Return the default of hyperparameter ``name`` in a trial with ``params``; ``None``: the checkpoint's own."""
    known = HYPERPARAMETERS[name]
    return known.default_by_method.get(str(params.get("method")), known.default)


def describe_hyperparameters() -> str:
    """Return a Markdown list of all hyperparameters: what each means, may be, and is by default."""
    return "\n".join(f"- `{one.name}` ({one.allowed}; default: {one.default_in_words}): {one.meaning}" for one in _ALL)
