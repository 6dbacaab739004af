"""The kinds of trials of a study that differ in how long a step takes."""

from collections.abc import Iterator
from typing import Any

from spezia.contract.hyperparameters import default_of
from spezia.contract.ranges import Choices
from spezia.contract.space import each_dimension, values_of
from spezia.contract.study_spec import StudySpec
from trainer.trial.config import TrialConfig

_METHODS = ("full", "lora", "head_only")
"""Methods of training, the one whose steps take longest first."""


def trial_kinds(spec: StudySpec, n_blocks: int) -> Iterator[TrialConfig]:
    """Yield one trial of each kind that a study may have, those whose steps take longest first.

    Kinds differ in method, in gradient checkpointing, and in the number of frozen blocks: the least and the most.
    """
    methods = value_ends(spec, "method", None)
    for method in (method for method in _METHODS if method in methods):
        params: dict[str, Any] = {"method": method}
        if method == "lora":
            params["lora_rank"] = max(value_ends(spec, "lora_rank", method))
            params["lora_targets"] = min(value_ends(spec, "lora_targets", method))  # all-linear before attention
        for depth in sorted(_depths(spec, method, n_blocks)):
            frozen = {} if method == "head_only" else {"frozen_layers": depth}
            for checkpointing in sorted(value_ends(spec, "gradient_checkpointing", method), reverse=True):
                yield TrialConfig.from_params(params | frozen | {"gradient_checkpointing": checkpointing})


def value_ends(spec: StudySpec, name: str, method: str | None) -> set[Any]:
    """Return the values that a parameter may have, of a range its ends.

    Args:
        method: only those of trials of this method; ``None``: of any.
    """
    values: set[Any] = {spec.fixed[name]} if name in spec.fixed else set()
    for one in each_dimension(spec.search_space, name):
        distribution = one.distribution
        if method is None or method in values_of(distribution.when.get("method", [method])):
            if isinstance(distribution, Choices):
                values.update(distribution.choices)
            else:
                values.update((distribution.low, distribution.high))
    return values or {default_of(name, {"method": method} if method else {})}


def _depths(spec: StudySpec, method: str, n_blocks: int) -> set[int]:
    """Return the least and the most blocks that trials of a method freeze."""
    if method == "head_only":
        return {n_blocks}
    depths = {int(layers) for layers in value_ends(spec, "frozen_layers", method)}
    if "frozen_fraction" in spec.search_space or "frozen_fraction" in spec.fixed:
        shares = {round(share * n_blocks) for share in value_ends(spec, "frozen_fraction", method)}
        depths = shares if depths == {0} else depths | shares  # 0 is the default of what is not given
    return {min(depths), max(depths)}
