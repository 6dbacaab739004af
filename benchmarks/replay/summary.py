"""What many replayed searches say of each method, and how far a table can be trusted."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ft_table import Table
from numpy.typing import NDArray
from replay.methods import METHODS, STUDIES, THROUGH_THE_SERVICE
from replay.task import ReplayTask

N_BOOTSTRAP = 2_000


def noise_of(table: Table) -> NDArray[np.float64]:
    """Return for each task the standard deviation of a configuration's value between seeds, NaN where none ran again.

    It is the root of the mean variance over the configurations that ran under several seeds.
    """
    best_TKS = np.full(table.repeats_TKSEM.shape[:3], np.nan)
    losses_TKSE = table.repeats_TKSEM[..., 0].astype(float)
    was_run = np.isfinite(losses_TKSE[..., 0]) if losses_TKSE.size else np.zeros(best_TKS.shape, bool)
    best_TKS[was_run] = np.nanmin(losses_TKSE[was_run], axis=-1)
    counts_TK = np.isfinite(best_TKS).sum(axis=2)
    sums_TK = np.nansum((best_TKS - np.nan_to_num(_mean(best_TKS))[..., None]) ** 2, axis=2)
    freedom_T = np.maximum(counts_TK - 1, 0).sum(axis=1)
    return np.sqrt(np.where(freedom_T > 0, sums_TK.sum(axis=1) / np.maximum(freedom_T, 1), np.nan))


def _mean(values_TKS: NDArray[np.float64]) -> NDArray[np.float64]:
    counts_TK = np.isfinite(values_TKS).sum(axis=2)
    return np.where(counts_TK > 0, np.nansum(values_TKS, axis=2) / np.maximum(counts_TK, 1), np.nan)


def describe(table: Table, share: float) -> Iterator[dict[str, Any]]:
    """Yield what there is to find on each task: its values, and how much they differ between seeds."""
    for name, noise in zip(table.tasks, noise_of(table), strict=True):
        task = ReplayTask.of_table(table, name)
        best_N = task.best_N
        yield {
            "task": name,
            "configurations": len(best_N),
            "best": round(float(best_N.min()), 4),
            "target": round(task.target(share), 4),
            "median": round(float(np.median(best_N)), 4),
            "baseline": round(float(best_N[0]), 4),
            "sd_between_seeds": round(float(noise), 4),
            "within_one_sd_of_the_target": int((best_N <= task.target(share) + noise).sum()),
        }


def summarise(lines: Sequence[dict[str, Any]], reference: str) -> Iterator[dict[str, Any]]:
    """Yield a line for each method, slack, budget and number of workers, beside ``reference`` with the same."""
    for slack, workers, budget in sorted({_setting(line) for line in lines}):
        chosen = [line for line in lines if _setting(line) == (slack, workers, budget)]
        tasks = sorted({line["task"] for line in chosen})
        others = _costs(chosen, reference, tasks)
        for method in METHODS | THROUGH_THE_SERVICE:
            own = [line for line in chosen if line["method"] == method]
            costs = _costs(own, method, tasks)
            if any(not len(of_task) for of_task in (*costs, *others)):
                continue
            low, high = np.percentile(_resampled(others, costs), [2.5, 97.5])
            yield {
                "slack": slack,
                "workers": workers,
                "budget": budget,
                "method": method,
                "searches": len(own),
                "saved": round(_saved(others, costs), 2),
                "interval": [round(float(low), 2), round(float(high), 2)],
                "missed": round(sum(not line["reached"] for line in own) / len(own), 3),
                "mean_cost": round(float(np.mean([of_task.mean() for of_task in costs])), 2),
                "by_task": {
                    task: round(float(one.mean() / other.mean()), 2)
                    for task, one, other in zip(tasks, others, costs, strict=True)
                },
                "cpu_seconds": round(float(np.mean([line["cpu_seconds"] for line in own])), 2),
            }


def summarise_studies(table: Table, lines: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a line for each kind of study and number of workers: its cost, and what its best complete trial lacks.

    ``lacks`` are the nats between the study's best complete trial and the task's best configuration, ``of_noise`` the
    same in standard deviations of a configuration's value between seeds, both means over all studies.
    """
    least = {name: ReplayTask.of_table(table, name).best_N.min() for name in table.tasks}
    noise = dict(zip(table.tasks, noise_of(table), strict=True))
    for workers in sorted({line["workers"] for line in lines}):
        for method in STUDIES:
            own = [line for line in lines if (line["method"], line["workers"]) == (method, workers)]
            if not own:
                continue
            lacks = {
                task: [line["best_complete"] - least[task] for line in own if line["task"] == task]
                for task in table.tasks
            }
            yield {
                "workers": workers,
                "study": method,
                "studies": len(own),
                "cost": round(float(np.mean([line["cost"] for line in own])), 2),
                "lacks": round(float(np.mean([np.mean(of_task) for of_task in lacks.values()])), 4),
                "of_noise": round(float(np.mean([np.mean(lacks[task]) / noise[task] for task in table.tasks])), 2),
                "by_task": {task: round(float(np.mean(of_task)), 4) for task, of_task in lacks.items()},
            }


def _setting(line: dict[str, Any]) -> tuple[float, int, float]:
    return line["slack"], line["workers"], line["budget"]


def _costs(lines: Sequence[dict[str, Any]], method: str, tasks: Sequence[str]) -> list[NDArray[np.float64]]:
    return [
        np.array([line["cost"] for line in lines if (line["method"], line["task"]) == (method, task)]) for task in tasks
    ]


def _saved(reference: Sequence[NDArray[np.float64]], costs: Sequence[NDArray[np.float64]]) -> float:
    ratios = [one.mean() / other.mean() for one, other in zip(reference, costs, strict=True)]
    return float(np.exp(np.mean(np.log(ratios))))


def _resampled(reference: Sequence[NDArray[np.float64]], costs: Sequence[NDArray[np.float64]]) -> list[float]:
    draw = np.random.default_rng(0)
    found = []
    for _ in range(N_BOOTSTRAP):
        tasks = draw.integers(len(costs), size=len(costs))
        found.append(
            _saved(
                [draw.choice(reference[task], len(reference[task])) for task in tasks],
                [draw.choice(costs[task], len(costs[task])) for task in tasks],
            )
        )
    return found
