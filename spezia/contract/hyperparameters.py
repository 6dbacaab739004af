"""Every hyperparameter that a study may search or fix: its type, bounds, default and meaning.

The bounds are what the trainer can carry out at all, not advice. Defaults are where a search should
start: BERT (Devlin et al. 2019) for rate, batch, epochs and decay, RoBERTa (Liu et al. 2019) for warm-up,
QLoRA (Dettmers et al. 2023) for the rate of LoRA, TRL's ``peft`` settings for its rank and alpha.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spezia.contract.schedules import SCHEDULES

ParamValue = bool | int | float | str


METHODS = ("full", "head_only", "lora")

LEARNING_RATES = {"full": 2e-5, "lora": 2e-4, "head_only": 1e-3}
"""The default ``learning_rate`` of each method."""

BLOCK_PARAMS = ("frozen_layers", "frozen_fraction", "unfreeze", "layer_lr_decay")
"""Hyperparameters that need a model with a list of blocks."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One knob of a trial."""

    name: str
    type: Literal["float", "int", "name", "bool"]
    default: ParamValue | None
    """Used when a study neither searches nor fixes it; ``None``: the checkpoint's own. See `default_of`."""
    low: float = 0.0
    """Smallest allowed value."""
    high: float = 1.0
    """Largest allowed value."""
    low_is_open: bool = False
    """``low`` itself is not allowed."""
    high_is_open: bool = False
    """``high`` itself is not allowed."""
    choices: tuple[str, ...] = ()
    """Allowed names, for type ``name``."""
    methods: tuple[str, ...] = METHODS
    """Values of ``method`` in which a trial has it."""
    meaning: str

    def problem(self, value: object) -> str | None:
        """Say why ``value`` cannot be used, or ``None`` if it can."""
        if self.type == "name":
            known = isinstance(value, str) and value in self.choices
            return None if known else f"must be one of {', '.join(self.choices)}"
        if self.type == "bool":
            return None if isinstance(value, bool) else "must be true or false"
        if isinstance(value, bool) or not isinstance(value, int if self.type == "int" else int | float):
            return f"must be {'a whole number' if self.type == 'int' else 'a number'}"
        if self._is_inside(value):
            return None
        edges = "(" if self.low_is_open else "[", ")" if self.high_is_open else "]"
        return f"must lie in {edges[0]}{self.low:g}, {self.high:g}{edges[1]}"

    def _is_inside(self, value: float) -> bool:
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
        meaning="what trains: every weight, the head alone, or the head and low-rank adapters of the body",
    ),
    Hyperparameter(
        name="learning_rate",
        type="float",
        default=LEARNING_RATES["full"],
        low=1e-12,
        high=1.0,
        meaning="peak learning rate of AdamW; the default depends on method: 2e-5 full, 2e-4 lora, 1e-3 head_only",
    ),
    Hyperparameter(
        name="batch_size",
        type="int",
        default=16,
        low=1,
        high=65_536,
        meaning="examples per optimizer step (micro-batch times accumulation)",
    ),
    Hyperparameter(
        name="epochs",
        type="int",
        default=3,
        low=1,
        high=1_000,
        meaning="passes over the training data; the best evaluation counts, not the last",
    ),
    Hyperparameter(
        name="dropout",
        type="float",
        default=None,
        high_is_open=True,
        meaning="probability of every dropout of the model outside frozen blocks; adapters have lora_dropout",
    ),
    Hyperparameter(
        name="weight_decay",
        type="float",
        default=0.01,
        high=10.0,
        meaning="decoupled weight decay, not on parameters of fewer than two dimensions",
    ),
    Hyperparameter(
        name="lr_schedule",
        type="name",
        default="linear",
        choices=SCHEDULES,
        meaning="shape of the learning rate over the trial",
    ),
    Hyperparameter(
        name="warmup_ratio",
        type="float",
        default=0.06,
        high_is_open=True,
        meaning="share of the optimizer steps during which the rate rises from 0",
    ),
    Hyperparameter(
        name="frozen_layers",
        type="int",
        default=0,
        high=1_000,
        methods=_PARTIAL,
        meaning="0: nothing is frozen; k: the embeddings and the first k blocks are",
    ),
    Hyperparameter(
        name="frozen_fraction",
        type="float",
        default=0.0,
        methods=_PARTIAL,
        meaning="frozen_layers as a share of the model's blocks, rounded: for spaces that should fit any model",
    ),
    Hyperparameter(
        name="unfreeze",
        type="name",
        default="none",
        choices=("none", "gradual"),
        methods=_PARTIAL,
        meaning="gradual: blocks thaw from the top during the first third of the trial, down to frozen_layers",
    ),
    Hyperparameter(
        name="layer_lr_decay",
        type="float",
        default=1.0,
        low_is_open=True,
        methods=_PARTIAL,
        meaning="each block's learning rate is this times that of the block above it; the head has the full rate",
    ),
    Hyperparameter(
        name="label_smoothing",
        type="float",
        default=0.0,
        high_is_open=True,
        meaning="share of the training target's probability that is spread over all classes",
    ),
    Hyperparameter(
        name="max_grad_norm",
        type="float",
        default=1.0,
        high=1e6,
        meaning="gradients of an effective batch with a larger L2 norm are scaled down to it; 0: never",
    ),
    Hyperparameter(
        name="adam_beta2",
        type="float",
        default=0.999,
        high_is_open=True,
        meaning="decay of AdamW's mean of squared gradients",
    ),
    Hyperparameter(
        name="gradient_checkpointing",
        type="bool",
        default=False,
        meaning="compute activations again in the backward pass instead of keeping them: less memory, more time",
    ),
    Hyperparameter(
        name="lora_rank",
        type="int",
        default=16,
        low=1,
        high=4_096,
        methods=("lora",),
        meaning="rank of the adapters",
    ),
    Hyperparameter(
        name="lora_alpha_ratio",
        type="float",
        default=2.0,
        high=64.0,
        low_is_open=True,
        methods=("lora",),
        meaning="alpha as a multiple of the rank: what an adapter adds is scaled by it",
    ),
    Hyperparameter(
        name="lora_dropout",
        type="float",
        default=0.0,
        high_is_open=True,
        methods=("lora",),
        meaning="probability of the dropout in front of the adapters",
    ),
    Hyperparameter(
        name="lora_targets",
        type="name",
        default="all-linear",
        choices=("all-linear", "attention"),
        methods=("lora",),
        meaning="linear layers that get an adapter: all of the blocks, or those of attention",
    ),
)

HYPERPARAMETERS = {hyperparameter.name: hyperparameter for hyperparameter in _ALL}


def default_of(name: str, params: Mapping[str, ParamValue]) -> ParamValue | None:
    """The default of hyperparameter ``name`` in a trial that has ``params``; ``None``: the checkpoint's own."""
    if name == "learning_rate":
        return LEARNING_RATES.get(str(params.get("method")), LEARNING_RATES["full"])
    return HYPERPARAMETERS[name].default
