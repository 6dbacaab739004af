"""Checks what a search space asks of model and data, before the first trial."""

from collections.abc import Iterator

from transformers import PreTrainedModel

from spezia.common.plural import plural
from spezia.contract.hyperparameters import BLOCK_PARAMS, HYPERPARAMETERS, ParamValue
from spezia.contract.ranges import Choices
from spezia.contract.space import dimensions
from spezia.contract.study_spec import StudySpec
from trainer.data.batches import steps_per_epoch
from trainer.errors import ConfigError
from trainer.model.dropout import check_dropout_known
from trainer.model.freeze import find_blocks
from trainer.model.lora import adaptable_layers
from trainer.model.trial_model import check_checkpointing, check_head


def check_space(spec: StudySpec, model: PreTrainedModel, *, n_blocks: int | None, n_rows: int) -> None:
    """Check that model and data allow every trial that ``spec`` allows.

    Args:
        n_blocks: blocks of the model; ``None`` where it cannot be split.
        n_rows: training rows.

    Raises:
        ConfigError: they do not; the message names the field and what it may be.
    """
    _check_blocks(spec, model, n_blocks)
    _check_evaluations(spec, n_rows)
    if "dropout" in spec.search_space or "dropout" in spec.fixed:
        check_dropout_known(model)
    if True in _possible(spec, "gradient_checkpointing"):
        check_checkpointing(model)
    if "lora" in _possible(spec, "method"):
        for targets in _possible(spec, "lora_targets"):
            adaptable_layers(model, find_blocks(model) or [model.base_model], str(targets))
    if "head_only" in _possible(spec, "method"):
        check_head(model)


def _check_blocks(spec: StudySpec, model: PreTrainedModel, n_blocks: int | None) -> None:
    for name in BLOCK_PARAMS:
        for field, value in _given(spec, name):
            if n_blocks is None and value != HYPERPARAMETERS[name].default:
                raise ConfigError(
                    f"{field} = {value}: the blocks of {_name(spec)} cannot be told apart, since the architecture "
                    f"{model.config.model_type!r} has no list of them; drop {name}"
                )
    largest, field = _largest(spec, "frozen_layers")
    if n_blocks is not None and largest > n_blocks:
        raise ConfigError(f"{field} = {largest}: {_name(spec)} has {plural(n_blocks, 'block')}; use at most {n_blocks}")


def _name(spec: StudySpec) -> str:
    assert spec.model is not None
    return spec.model.name


def _check_evaluations(spec: StudySpec, n_rows: int) -> None:
    batch_size, field = _largest(spec, "batch_size")
    n_steps = steps_per_epoch(n_rows, batch_size)
    wanted = spec.training.evaluations_per_epoch
    if wanted > n_steps:
        raise ConfigError(
            f"training.evaluations_per_epoch = {wanted}: an epoch of {plural(n_rows, 'row')} has "
            f"{plural(n_steps, 'optimizer step')} at {field} = {batch_size}; lower one of the two"
        )


def _largest(spec: StudySpec, name: str) -> tuple[int, str]:
    """The largest whole number that a trial may get as ``name``, and the field that says so."""
    default = HYPERPARAMETERS[name].default
    assert isinstance(default, int)
    return max(((int(value), field) for field, value in _given(spec, name)), default=(default, name))


def _possible(spec: StudySpec, name: str) -> set[ParamValue | None]:
    """Values that a trial may get as ``name``; of a range its ends."""
    return {value for _, value in _given(spec, name)} or {HYPERPARAMETERS[name].default}


def _given(spec: StudySpec, name: str) -> Iterator[tuple[str, ParamValue]]:
    """Fields that give ``name`` a value, and that value; of a range its ends."""
    if name in spec.fixed:
        yield f"fixed.{name}", spec.fixed[name]
    for dimension in dimensions(spec.search_space):
        field = ".".join(map(str, dimension.path))
        if dimension.name != name:
            continue
        if isinstance(dimension.distribution, Choices):
            yield from ((f"{field}.choices", choice) for choice in dimension.distribution.choices)
        else:
            yield f"{field}.low", dimension.distribution.low
            yield f"{field}.high", dimension.distribution.high
