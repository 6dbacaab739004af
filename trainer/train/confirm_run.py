"""Runs a trial's params again in full, under a fresh seed, to see what they are worth when chance is another."""

from collections.abc import Sequence
from dataclasses import dataclass

from spezia.contract.study_spec import MAX_TRIALS
from trainer.model.memory_hints import MemoryHints
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared
from trainer.train.row_scores import RowScores
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache


@dataclass(frozen=True)
class Confirmed:
    """What a run came to, at its best evaluation."""

    metrics: dict[str, float]
    row_scores: list[float] | None
    """As `ConfirmOutcome.row_scores`."""


def confirm_run(
    prepared: Prepared,
    config: TrialConfig,
    *,
    fresh_seed: int,
    evaluate_at: Sequence[int] | None = None,
    hints: MemoryHints | None = None,
    cache: TrunkCache | None = None,
) -> Confirmed:
    """Fine-tune as the study's trials do, and return the metrics of the best evaluation.

    Head, dropout and data order are drawn as in a trial of a number that no trial can have.

    Args:
        fresh_seed: number of the fresh seed, from 0.
        evaluate_at: steps that are evaluated, as in the trial; ``None``: all are.
        hints: what earlier trials found out about memory.
        cache: keeps the output of frozen blocks; ``None``: it is computed for every batch.

    Raises:
        TrainerError: as ``fine_tune`` raises it.
    """
    spec, best = prepared.spec, RowScores(prepared, hints)
    run = fine_tune(
        prepared,
        config,
        seed=spec.seed,
        number=MAX_TRIALS + fresh_seed,
        best=best,
        evaluate_at=evaluate_at,
        hints=hints,
        cache=cache,
    )
    better = min if spec.direction == "minimize" else max
    metrics = better(run, key=lambda evaluation: evaluation.value).metrics
    return Confirmed(metrics, best.scores)
