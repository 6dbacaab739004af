"""What `ft_bench.py` measured, as one table of arrays: the learning curves of all configurations on all tasks.

T = tasks, N = configurations, E = most evaluations of one trial, M = metrics of an evaluation, K = configurations that
were run again under other seeds, S = those seeds, R = most rows of a validation split. What was not run, and all that
comes after a trial diverged, is NaN.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

METRICS = ("validation_loss", "train_loss", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Learning curves of real trials."""

    tasks: list[str]
    search_space: dict[str, dict[str, Any]]
    configurations: list[dict[str, Any]]
    """The baseline is the first."""
    evaluations_per_epoch: int
    curves_TNEM: NDArray[np.float16]
    """Every configuration once, under seed 0; metrics as in ``METRICS``."""
    seconds_TN: NDArray[np.float32]
    """Wall time of each of these trials, on whatever device it ran, beside others."""
    repeated_TK: NDArray[np.int16]
    """Which configurations ran again: the baseline, and those of the least validation loss."""
    repeats_TKSEM: NDArray[np.float16]
    """Their curves under seeds 1 to S."""
    row_losses_TKSR: NDArray[np.float16]
    """Loss in nats of each validation row, of the best evaluation of each of these."""

    @classmethod
    def of_runs(cls, plan: dict[str, Any], runs: Iterable[dict[str, Any]]) -> Self:
        """Arrange finished runs, in any order; what is missing stays NaN."""
        done = {(run["task"], run["configuration"], run["seed"]): run for run in runs}
        tasks, configurations = plan["tasks"], plan["configurations"]
        n_seeds = max((seed for *_, seed in done), default=0)
        repeated = {
            task: sorted({configuration for of, configuration, seed in done if of == task and seed}) for task in tasks
        }
        n_repeated = max(map(len, repeated.values()))
        n_evaluations = max(len(run["evaluations"]) for run in done.values())
        n_rows = max(len(run.get("row_losses", ())) for run in done.values())
        curves = np.full((len(tasks), len(configurations), n_evaluations, len(METRICS)), np.nan)
        seconds = np.full(curves.shape[:2], np.nan)
        repeated_TK = np.full((len(tasks), n_repeated), -1)
        repeats = np.full((*repeated_TK.shape, n_seeds, n_evaluations, len(METRICS)), np.nan)
        row_losses = np.full((*repeated_TK.shape, n_seeds, n_rows), np.nan)
        for (task, configuration, seed), run in done.items():
            row, values = tasks.index(task), run["evaluations"]
            if not seed:
                curves[row, configuration, : len(values)] = values or np.empty((0, len(METRICS)))
                seconds[row, configuration] = run["seconds"]
                continue
            column = repeated[task].index(configuration)
            repeated_TK[row, column] = configuration
            repeats[row, column, seed - 1, : len(values)] = values or np.empty((0, len(METRICS)))
            row_losses[row, column, seed - 1, : len(run["row_losses"])] = run["row_losses"]
        return cls(
            tasks=tasks,
            search_space=plan["search_space"],
            configurations=configurations,
            evaluations_per_epoch=plan["evaluations_per_epoch"],
            curves_TNEM=curves.astype(np.float16),
            seconds_TN=seconds.astype(np.float32),
            repeated_TK=repeated_TK.astype(np.int16),
            repeats_TKSEM=repeats.astype(np.float16),
            row_losses_TKSR=row_losses.astype(np.float16),
        )

    def save(self, file: Path) -> None:
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        words = {name: value for name, value in vars(self).items() if name not in arrays}
        np.savez_compressed(file, words=np.array(json.dumps(words)), **arrays)

    @classmethod
    def load(cls, file: Path) -> Self:
        with np.load(file) as saved:
            return cls(**json.loads(str(saved["words"])), **{name: saved[name] for name in saved if name != "words"})
