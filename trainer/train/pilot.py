"""Runs a pilot: a trial's params on a fraction of the training data, to see errors and promise before it costs much."""

from dataclasses import replace

from trainer.data.subset import subset_rows
from trainer.model.best_model import BestModel
from trainer.model.memory_hints import MemoryHints
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache


def run_pilot(
    prepared: Prepared,
    config: TrialConfig,
    *,
    fraction: float,
    number: int,
    hints: MemoryHints | None = None,
    cache: TrunkCache | None = None,
) -> dict[str, float]:
    """Fine-tune on ``fraction`` of the training rows and return the metrics of the best evaluation.

    Head, dropout and data order are drawn as in the trial ``number``; validation rows are all of the study's. The pilot
    is evaluated once an epoch, since a small epoch may be too short for more.

    Args:
        hints: what earlier trials found out about memory.
        cache: keeps the output of frozen blocks; ``None``: it is computed for every batch.

    Raises:
        TrainerError: as ``fine_tune`` raises it.
    """
    spec = prepared.spec
    small = replace(
        prepared,
        spec=spec.model_copy(update={"training": spec.training.model_copy(update={"evaluations_per_epoch": 1})}),
        train=prepared.train.take(subset_rows(prepared.train, fraction, spec.seed)),
    )
    trial = fine_tune(small, config, seed=spec.seed, number=number, best=BestModel(), hints=hints, cache=cache)
    better = min if spec.direction == "minimize" else max
    return better(trial, key=lambda evaluation: evaluation.value).metrics
