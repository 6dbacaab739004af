"""Times a few real optimizer steps at the beginning of a study, so that the study can say what it will take.

The time of a step is taken to be ``fixed + per_token * tokens``, with its padded tokens, by batches of two sizes. So a
few steps tell the time of an epoch, whose padded tokens are known.

Nothing of it changes a trial: models are copies, cached rows lie in a folder of their own, what is found out about
memory is forgotten, and every step of a trial draws its random numbers from a seed of its own.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spezia.contract.pruners import RungsPruner
from spezia.contract.step_times import KindTimes, StepTimes
from trainer.data.batches import epoch_batches, steps_per_epoch
from trainer.data.tokenised_split import Split
from trainer.model.best_model import BestModel
from trainer.model.device import describe_device, scoring_tokens, training_tokens
from trainer.model.device_memory import (
    is_out_of_memory,
    peak_memory,
    peak_resident_memory,
    release_memory,
    reset_peak_memory,
)
from trainer.model.memory_hints import MemoryHints
from trainer.train.begin_trial import BegunTrial, begin_trial
from trainer.train.checkpoint import TrialState, seconds_to_pause
from trainer.train.evaluate import evaluate
from trainer.train.prepare import Prepared
from trainer.train.progress import Progress
from trainer.train.trial_kinds import trial_kinds, value_ends
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache
from trainer.trunk.trunk import FedSplit

SECONDS = 2.0
"""Time that is spent on timing steps, shared by the kinds of trials. What has begun is finished; of each kind that is
begun at least one step is timed, and more even if its frozen blocks have taken that time."""

_QUANTILES = (0.5, 0.25, 0.75)
"""Batches that are timed of each size, by the rank of their padded tokens among those of an epoch."""

_REPEATS = {"cuda": 3, "mps": 2, "cpu": 1}
"""Times that a step is taken until it is as fast as in the middle of a trial: CUDA runs it by itself, then records it,
then replays it."""

_MOST_BATCHES = 2_000
"""Number of batches by which the padding of an epoch is judged."""

_FORWARD_SHARE = 1 / 3
"""Share of the forward pass in the time of a step, of use where evaluating could not be timed."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimedStep:
    """An optimizer step that was taken."""

    tokens: int
    """Padded tokens of its batch."""
    seconds: float


class _Deadline:
    """A time after which nothing more is begun."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._at = clock() + seconds

    @property
    def seconds_left(self) -> float:
        return self._at - self.clock()


def time_steps(prepared: Prepared, *, uses_cache: bool, clock: Callable[[], float] = time.perf_counter) -> StepTimes:
    """Return what trials of a study will take, as far as a few seconds can tell.

    Args:
        uses_cache: whether trials keep the output of frozen blocks.
    """
    configs = list(trial_kinds(prepared.spec, prepared.facts.blocks or 0))
    deadline = _Deadline(SECONDS, clock)
    kinds: list[KindTimes] = []
    reset_peak_memory()
    with tempfile.TemporaryDirectory(prefix="spezia-") as folder:
        cache = TrunkCache(Path(folder), clock=clock) if uses_cache else None
        for index, config in enumerate(configs):
            if kinds and deadline.seconds_left <= 0:
                break
            share = deadline.seconds_left / (len(configs) - index)
            kinds += _time_kind(prepared, config, cache, share, clock)
    return StepTimes(
        device=describe_device(prepared.device).name,
        kinds=kinds,
        load_seconds=prepared.load_seconds,
        peak_memory_bytes=peak_memory() or peak_resident_memory(),
    )


def _time_kind(
    prepared: Prepared, config: TrialConfig, cache: TrunkCache | None, seconds: float, clock: Callable[[], float]
) -> list[KindTimes]:
    """Time trials like ``config`` at the smallest and the largest batch; what does not fit into memory is a finding.

    Args:
        seconds: time for steps and evaluation. Making the model and computing frozen blocks are not counted, or little
            would be left for the steps where they take the most.
    """
    ends = value_ends(prepared.spec, "batch_size", config.method)
    kind = KindTimes(
        method=config.method,
        frozen_blocks=config.depth(prepared.facts.blocks or 0),
        gradient_checkpointing=config.gradient_checkpointing,
        batch_size=min(ends),
        epoch_seconds=None,
    )
    kinds = [kind.model_copy(update={"batch_size": size}) for size in sorted({min(ends), max(ends)})]
    try:
        return _timed(prepared, config, kinds, cache, seconds, clock)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        _LOG.warning("a trial with %s does not fit into memory: %s", kind, str(error).partition("\n")[0])
        return kinds
    finally:
        release_memory()


def _timed(
    prepared: Prepared,
    config: TrialConfig,
    kinds: list[KindTimes],
    cache: TrunkCache | None,
    seconds: float,
    clock: Callable[[], float],
) -> list[KindTimes]:
    lengths_N = prepared.train.lengths_N
    most_rows = max(1, training_tokens(prepared.device) // int(lengths_N.max()))
    fills_cache = cache is not None and config.depth(prepared.facts.blocks or 0) > 0
    batches = _batches_to_time(prepared, [min(kind.batch_size, most_rows) for kind in kinds], fills_cache=fills_cache)
    rows = np.unique(np.concatenate(batches))
    few = replace(prepared, train=prepared.train.take(rows.tolist()), validation=_few_rows(prepared))
    began_at = clock()
    begun = begin_trial(
        few, config, n_steps=len(batches), seed=prepared.spec.seed, number=0, hints=MemoryHints(), cache=cache
    )
    start_seconds = clock() - began_at
    deadline = _Deadline(seconds, clock)
    fixed, per_token = fit(_take_steps(begun, [np.searchsorted(rows, batch) for batch in batches], deadline))
    n_tokens = int(prepared.validation.lengths_N.sum())
    filled_seconds, fill_per_token = _filling(begun)
    times = {
        "start_seconds": max(0.0, start_seconds - filled_seconds),
        "evaluation_seconds": _forward_seconds(begun, begun.prepared.validation, per_token, deadline) * n_tokens,
        "pause_seconds": _pause_seconds(begun) if isinstance(prepared.spec.pruner, RungsPruner) else 0.0,
        "fill_seconds": fill_per_token * (int(lengths_N.sum()) + n_tokens),
    }

    def epoch_seconds(batch_size: int) -> float:
        tokens = epoch_tokens(lengths_N, batch_size, most_rows, prepared.spec.seed)
        return fixed * steps_per_epoch(len(lengths_N), batch_size) + per_token * tokens

    return [kind.model_copy(update={**times, "epoch_seconds": epoch_seconds(kind.batch_size)}) for kind in kinds]


def _batches_to_time(prepared: Prepared, sizes: list[int], *, fills_cache: bool) -> list[NDArray[np.int64]]:
    """Choose real batches of at least two sizes, those of the sizes by turns, a small one first.

    On CUDA a batch of the longest rows comes before them: what takes the most memory comes first.

    Args:
        fills_cache: whether frozen blocks are computed for each row, so that the batches should have rows in common.
    """
    lengths_N = prepared.train.lengths_N
    quantiles = _QUANTILES[:1] * len(_QUANTILES) if fills_cache else _QUANTILES
    low, high = min(sizes), max(sizes)
    if low == high:  # a second size, or what grows with the tokens could not be told from the rest
        low = max(1, high // 2)
    of_sizes = []
    for size in (low, high):
        batches = epoch_batches(lengths_N, size, prepared.spec.seed)
        whole = [batch for batch in batches if len(batch) == size] or batches
        ranked = sorted(whole, key=lambda batch: _padded(lengths_N[batch]))
        of_sizes.append([ranked[int(share * len(ranked))] for share in quantiles])
    chosen = [batch for pair in zip(*of_sizes, strict=True) for batch in pair]
    longest = np.argsort(-lengths_N, kind="stable")[: max(sizes)]
    return [longest, *chosen] if prepared.device.type == "cuda" else chosen


def _take_steps(begun: BegunTrial, batches: Sequence[NDArray[np.int64]], deadline: _Deadline) -> list[TimedStep]:
    """Take steps while there is time, and return those that count: all but the first, if there are others."""
    begun.trial_model.begin_step(0)
    lengths_N = begun.prepared.train.lengths_N
    steps: list[TimedStep] = []
    for rows_B in (batches[0], *batches):
        for _ in range(_REPEATS[begun.prepared.device.type]):
            began_at = deadline.clock()
            begun.trial_model.masks.begin_step(0)
            float(begun.steps.take(rows_B, seed=0))  # waits for the device
            seconds = deadline.clock() - began_at
        steps.append(TimedStep(_padded(lengths_N[rows_B]), seconds))
        if deadline.seconds_left <= 0:
            break
    return steps[1:] or steps


def fit(steps: Sequence[TimedStep]) -> tuple[float, float]:
    """Return the seconds of a step that do not depend on its batch, and those for each padded token.

    They are those of a straight line through all steps by least squares, none of them negative.
    """
    tokens = np.array([step.tokens for step in steps], dtype=np.float64)
    seconds = np.array([step.seconds for step in steps])
    if len(set(tokens)) > 1:
        per_token, fixed = (float(number) for number in np.polyfit(tokens, seconds, 1))
        if per_token <= 0:
            return float(seconds.mean()), 0.0
        if fixed >= 0:
            return fixed, per_token
    return 0.0, float(seconds.sum() / tokens.sum())


def epoch_tokens(lengths_N: NDArray[np.int64], batch_size: int, most_rows: int, seed: int) -> float:
    """Return the padded tokens of one epoch, from those of its first batches where there are very many.

    Args:
        most_rows: rows that go through the model at once.
    """
    batches = epoch_batches(lengths_N, batch_size, seed)
    judged = batches[:_MOST_BATCHES]
    pieces = (batch[start : start + most_rows] for batch in judged for start in range(0, len(batch), most_rows))
    return sum(_padded(lengths_N[piece]) for piece in pieces) * len(batches) / len(judged)


def _few_rows(prepared: Prepared) -> Split:
    """As many validation rows, drawn by chance, as a forward pass of an evaluation takes."""
    split = prepared.validation
    order = np.random.default_rng(prepared.spec.seed).permutation(len(split))
    n_rows = int(np.searchsorted(np.cumsum(split.lengths_N[order]), scoring_tokens(prepared.device))) + 1
    return split.take(order[:n_rows].tolist())


def _forward_seconds(begun: BegunTrial, split: Split, per_token: float, deadline: _Deadline) -> float:
    """Return the seconds of an evaluation for each token, by those of ``split``, or of a step where time is up."""
    if deadline.seconds_left <= 0:
        return _FORWARD_SHARE * per_token
    began_at = deadline.clock()
    evaluate(begun.trial_model.model, begun.prepared.task, split, begun.prepared.facts.precision)
    return (deadline.clock() - began_at) / int(split.lengths_N.sum())


def _filling(begun: BegunTrial) -> tuple[float, float]:
    """Return the seconds in which frozen blocks were computed for the cache, and those for each token; 0: none were."""
    filled = [split for split in (begun.prepared.train, begun.prepared.validation) if isinstance(split, FedSplit)]
    if not filled:
        return 0.0, 0.0
    n_tokens = sum(int(split.lengths_N.sum()) for split in filled)
    seconds = sum((split.entry.seconds_per_row or 0.0) * len(split) for split in filled)
    return sum(split.entry.seconds_spent for split in filled), seconds / n_tokens


def _pause_seconds(begun: BegunTrial) -> float:
    """Return the seconds in which a trial is saved and restored, tried among the temporary files; 0: it cannot be."""
    model, pretrained = begun.trial_model.model, begun.prepared.pretrained
    best = BestModel()
    best.keep(pretrained, model)
    progress = Progress(is_minimized=True, patience=None, trunk=begun.trunk)
    state = TrialState(pretrained, model, begun.optimizer, progress, best, losses=[])
    try:
        with tempfile.TemporaryDirectory(prefix="spezia-") as folder:
            return seconds_to_pause(state, Path(folder))
    except OSError as error:
        _LOG.warning("what a pause takes is not known: %s", error)
        return 0.0


def _padded(lengths_B: NDArray[np.int64]) -> int:
    return len(lengths_B) * int(lengths_B.max())
