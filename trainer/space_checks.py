"""What a search space asks of model and data, checked before the first trial."""

from transformers import PreTrainedModel

from service.contract.hyperparameters import HYPERPARAMETERS
from service.contract.search import Choices
from service.contract.study import StudySpec
from trainer.batches import steps_per_epoch
from trainer.dropout import check_dropout_known
from trainer.errors import ConfigError


def check_space(spec: StudySpec, model: PreTrainedModel, *, n_blocks: int | None, n_rows: int) -> None:
    """Check every trial that ``spec`` allows.

    Args:
        n_blocks: of the model; ``None`` where it cannot be split.
        n_rows: training rows.

    Raises:
        ConfigError: names the field and what it may be.
    """
    _check_frozen_layers(spec, n_blocks)
    _check_evaluations(spec, n_rows)
    if "dropout" in spec.search_space or "dropout" in spec.fixed:
        check_dropout_known(model)


def _check_frozen_layers(spec: StudySpec, n_blocks: int | None) -> None:
    largest, field = _largest(spec, "frozen_layers")
    if n_blocks is None and largest > 0:
        raise ConfigError(f"{field} = {largest}: the blocks of {spec.model.name} cannot be told apart; only 0 works")
    if n_blocks is not None and largest > n_blocks:
        raise ConfigError(f"{field} = {largest}: {spec.model.name} has {n_blocks} blocks; use at most {n_blocks}")


def _check_evaluations(spec: StudySpec, n_rows: int) -> None:
    batch_size, field = _largest(spec, "batch_size")
    n_steps = steps_per_epoch(n_rows, batch_size)
    wanted = spec.training.evaluations_per_epoch
    if wanted > n_steps:
        raise ConfigError(
            f"training.evaluations_per_epoch = {wanted}: an epoch of {n_rows} rows has {n_steps} optimizer "
            f"steps at {field} = {batch_size}; lower one of the two"
        )


def _largest(spec: StudySpec, name: str) -> tuple[int, str]:
    """The largest whole number that a trial may get as ``name``, and the field that says so."""
    distribution = spec.search_space.get(name)
    if name in spec.fixed:
        return int(spec.fixed[name]), f"fixed.{name}"
    if distribution is None:
        default = HYPERPARAMETERS[name].default
        assert isinstance(default, int)
        return default, name
    if isinstance(distribution, Choices):
        return max(map(int, distribution.choices)), f"search_space.{name}.choices"
    return int(distribution.high), f"search_space.{name}.high"
