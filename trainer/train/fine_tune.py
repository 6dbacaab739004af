"""Trains one trial: a generator of evaluations that knows no HTTP, no Optuna and no lease.

B = rows of a batch, T = tokens of its longest row.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

import torch
from transformers import PreTrainedModel

from spezia.contract.objectives import CACHED_ROWS
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import StudySpec
from trainer.data.batches import evaluation_steps, steps_per_epoch, trial_batches
from trainer.data.subset import subset_rows
from trainer.data.tokenised_split import Split
from trainer.errors import ConfigError, Diverged
from trainer.model.best_model import BestModel
from trainer.model.memory_hints import MemoryHints
from trainer.train.begin_trial import begin_trial, memory_key
from trainer.train.checkpoint import Checkpoints, TrialState, Watch
from trainer.train.evaluate import evaluate
from trainer.train.optimizer import make_schedule, set_learning_rate
from trainer.train.prepare import Prepared
from trainer.train.progress import Progress
from trainer.train.stopwatch import Stopwatch
from trainer.trial.config import TrialConfig
from trainer.trial.seeds import derive_seed
from trainer.trunk.cache import TrunkCache

FINITE_CHECK_STEPS = 50
"""Optimizer steps between two looks at the training loss, each of which waits for the device."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one evaluation of a trial found. Every number is finite."""

    step: int
    """Step of the evaluation, from 1; where none is left out, the number of the evaluation."""
    epoch: float
    """Passes over the training data so far."""
    optimizer_steps: int
    """Optimizer steps so far."""
    value: float
    """Metric of the first objective."""
    metrics: dict[str, float]
    """``validation_loss`` and ``train_loss`` in nats, and the task's own metrics. The training loss is the mean over
    the optimizer steps since the evaluation before, with dropout; neither has label smoothing. Where blocks are frozen
    for good and there is a cache of them, ``cached_rows`` counts what came from it."""
    final: bool
    """Whether the trial ends here: this was the last evaluation planned, or early stopping is out of patience."""
    partial: bool = False
    """Whether it has read a part of the validation rows only."""
    speed: TrialSpeed | None = field(default=None, compare=False)
    """What was measured of the trial's speed so far; a script's is not known."""


def fine_tune(
    prepared: Prepared,
    config: TrialConfig,
    *,
    seed: int,
    number: int,
    best: BestModel,
    evaluate_at: Sequence[int] | None = None,
    partial_at: Mapping[int, float] = MappingProxyType({}),
    checkpoints: Checkpoints | None = None,
    hints: MemoryHints | None = None,
    cache: TrunkCache | None = None,
) -> Generator[Evaluation, None, None]:
    """Train one trial and yield its evaluations; the caller may close it after any of them.

    Closing it frees the trial's memory: nothing else holds model, gradients or optimizer. On one CPU thread the same
    arguments give the same losses to the last bit, whatever the caller does between two evaluations.

    Args:
        seed: seed of the study.
        number: number of the trial; with ``seed`` it decides batches, a new head and dropout.
        best: filled with the model of the best evaluation so far, before that evaluation is yielded.
        evaluate_at: steps that are evaluated, besides the last one, which always is; ``None``: all are.
        partial_at: share of the validation rows that is read at a step, where that is not all; such an evaluation is
            never the best, and ends no trial.
        checkpoints: where an interrupted trial goes on from and is saved; ``None``: nowhere.
        hints: what earlier trials found out about memory.
        cache: keeps the output of frozen blocks; ``None``: it is computed for every batch.

    Raises:
        Preempted: the trial was asked to stop, or to pause, and has written a checkpoint.
        CheckpointLost: the checkpoint to go on from cannot be read.
        Diverged: the training or validation loss is not finite.
        ConfigError: ``config`` cannot run on this model and data.
    """
    n_steps = steps_per_epoch(len(prepared.train), config.batch_size)
    due = _plan(prepared, config, n_steps, evaluate_at)
    hints = hints or MemoryHints()
    begun = begin_trial(
        prepared, config, n_steps=n_steps * config.epochs, seed=seed, number=number, hints=hints, cache=cache
    )
    prepared, trial_model, optimizer, trunk = begun.prepared, begun.trial_model, begun.optimizer, begun.trunk
    model = trial_model.model
    rate_of = make_schedule(config, n_steps * config.epochs)
    progress = Progress(
        is_minimized=prepared.spec.direction == "minimize",
        patience=_patience(prepared.spec),
        trunk=trunk,
    )
    losses: list[torch.Tensor] = []
    watch = Watch(checkpoints, TrialState(prepared.pretrained, model, optimizer, progress, best, losses))
    batches = trial_batches(
        prepared.train.lengths_N, batch_size=config.batch_size, epochs=config.epochs, seed=seed, number=number
    )
    stopwatch = Stopwatch()
    for optimizer_steps, rows_B in islice(enumerate(batches, start=1), watch.optimizer_steps, None):
        watch.look(optimizer_steps=optimizer_steps - 1)
        if trial_model.begin_step(optimizer_steps - 1):
            begun.steps.forget_graphs()
        set_learning_rate(optimizer, rate_of(optimizer_steps - 1))
        # Seeded at each step, what is drawn depends on nothing that happened before it, in this trial or another
        step_seed = derive_seed("dropout", seed, number, optimizer_steps)
        trial_model.masks.begin_step(step_seed)
        losses.append(begun.steps.take(rows_B, step_seed))
        if len(losses) % FINITE_CHECK_STEPS == 0:
            _check_finite("training", float(losses[-1]))
        if optimizer_steps not in due:
            continue
        step, train_loss = due[optimizer_steps], _train_loss(losses)
        validation = _rows_to_read(prepared, partial_at.get(step), seed)
        # Where steps may be left out, the rest of the trial would not evaluate as often as it has until here
        with stopwatch.paused() if evaluate_at is not None else nullcontext():
            metrics = _measure(prepared, model, validation, train_loss, hints)
        if trunk is not None:
            metrics[CACHED_ROWS] = trunk.n_rows
        is_partial = step in partial_at
        if is_partial:
            progress.note_partial(step, metrics[prepared.spec.metric])
        elif progress.note(step, metrics[prepared.spec.metric]):
            best.keep(prepared.pretrained, model)
        final = optimizer_steps == max(due) or (progress.is_out_of_patience and not is_partial)
        n_epochs = (optimizer_steps - watch.optimizer_steps) / n_steps
        speed = TrialSpeed(seconds_per_epoch=stopwatch.seconds / n_epochs, trunk_seconds=progress.trunk_seconds)
        with stopwatch.paused():
            yield _evaluation(progress, metrics, optimizer_steps, n_steps, speed, final=final, partial=is_partial)
        if final:
            return
        losses.clear()
        trial_model.train_mode()


def _plan(prepared: Prepared, config: TrialConfig, n_steps: int, evaluate_at: Sequence[int] | None) -> dict[int, int]:
    """The steps that are evaluated, by the number of optimizer steps before each."""
    wanted = prepared.spec.training.evaluations_per_epoch
    if wanted > n_steps:
        raise ConfigError(
            f"training.evaluations_per_epoch = {wanted}: an epoch has {n_steps} optimizer steps at "
            f"batch_size = {config.batch_size}; lower one of the two"
        )
    steps = dict(enumerate(evaluation_steps(n_steps, wanted, config.epochs), start=1))
    return {at: step for step, at in steps.items() if evaluate_at is None or step in evaluate_at or step == len(steps)}


def _patience(spec: StudySpec) -> int | None:
    """Steps without a better evaluation after which a trial ends. Under rungs, where there are many evaluations in an
    epoch and trials differ in which they make, the spec's number counts epochs."""
    patience = spec.training.early_stopping_patience
    if patience is None or not isinstance(spec.pruner, RungsPruner):
        return patience
    return patience * spec.training.evaluations_per_epoch


def _train_loss(losses: list[torch.Tensor]) -> float:
    """Return the mean loss of the steps since the evaluation before, once the device has made all of them."""
    train_loss = float(torch.stack(losses).cpu().double().mean())
    _check_finite("training", train_loss)
    return train_loss


def _rows_to_read(prepared: Prepared, share: float | None, seed: int) -> Split:
    """The validation rows of an evaluation: all, or the ``share`` that every trial of the study reads, with as large a
    share of each class; those of a smaller share are among those of a larger one."""
    if share is None:
        return prepared.validation
    return prepared.validation.take(subset_rows(prepared.validation, share, seed))


def _measure(
    prepared: Prepared, model: PreTrainedModel, validation: Split, train_loss: float, hints: MemoryHints
) -> dict[str, float]:
    """Return the metrics of the model as it is on rows of the validation split, ``train_loss`` among them."""
    scores = evaluate(
        model,
        prepared.task,
        validation,
        prepared.facts.precision,
        hints=hints,
        memory_key=memory_key(prepared, {"evaluates": True}),
    )
    loss = scores.pop("loss")
    _check_finite("validation", loss)
    return {"validation_loss": loss, "train_loss": train_loss, **scores}


def _evaluation(
    progress: Progress,
    metrics: dict[str, float],
    optimizer_steps: int,
    n_steps: int,
    speed: TrialSpeed,
    *,
    final: bool,
    partial: bool,
) -> Evaluation:
    return Evaluation(
        step=progress.step,
        epoch=optimizer_steps / n_steps,
        optimizer_steps=optimizer_steps,
        value=progress.value,
        metrics=metrics,
        final=final,
        partial=partial,
        speed=speed,
    )


def _check_finite(name: str, loss: float) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the {name} loss is {loss}; lower learning_rate")
