"""How many claims "better than the baseline" are true: on a table of real fine-tuning, of which some seeds stand for a
study's confirmation and the others for the truth.

    python benchmarks/confirm_claims.py TABLE|synthetic [--splits 56] --out benchmarks/results/confirm_claims.jsonl

TABLE is what `ft_bench.py` writes (``ft_table.npz``), with repeats. Of each task, again and again, three of the tuned
configurations are a search's best; three seeds say which of them wins and whether it is claimed to be better, by the
service's own verdict; the other seeds say whether it is. Two kinds of comparisons are made: with the real ``baseline``,
and with a ``peer``, another tuned configuration in its place, which often is as good, so that there is nothing to
claim. The truth is the mean over the other seeds, on the ``same`` validation rows or, where claims read one half of
them alone, on the ``other`` half.

``synthetic`` makes a table of that form: hard and easy rows, noise of seeds, and gains of which many are nothing. It
shows what the arithmetic is worth, and nothing of fine-tuning.

K = configurations, S = seeds, R = rows.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from ft_table import METRICS, Table
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.lifecycle.confirmation.verdict import verdict
from service.store.confirm_runs import RunRow
from spezia.contract.study_spec import StudySpec

Array = NDArray[np.float64]

N_SEEDS = 3
"""Seeds of a claim."""
N_TOP = 3
"""Configurations that a search found best."""
SPEC = StudySpec.model_validate(
    {
        "task": "text-classification",
        "model": {"name": "any"},
        "data": {"train": "train.csv"},
        "search_space": {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3}},
        "confirm": {"top": N_TOP, "seeds": N_SEEDS},
    }
)


@dataclass(frozen=True)
class Case:
    """Configurations and seeds that stand for one study."""

    baseline: int
    best: tuple[int, ...]
    seeds: tuple[int, ...]


def cases(
    n_configurations: int, n_seeds: int, n_splits: int, *, with_peer: bool, chance: np.random.Generator
) -> Iterator[Case]:
    """Yield ``n_splits`` studies, which choose seeds in as many ways as there are; the baseline is configuration 0, or
    any other."""
    ways = list(combinations(range(n_seeds), N_SEEDS))
    for way in chance.permutation(max(n_splits, len(ways)))[:n_splits] % len(ways):
        tuned = chance.permutation(np.arange(1, n_configurations)).tolist()
        baseline = tuned.pop() if with_peer else 0
        yield Case(baseline, tuple(tuned[:N_TOP]), ways[way])


def judge(rows_KSR: Array, case: Case, *, other_rows: bool) -> tuple[bool, bool] | None:
    """Return whether a gain was claimed and whether there is one; ``None`` where a run of the study diverged.

    Args:
        rows_KSR: losses of one task, without the columns that it does not have.
        other_rows: whether the claim reads every other row, and the truth the rest.
    """
    read_KSR, true_KSR = (rows_KSR[..., ::2], rows_KSR[..., 1::2]) if other_rows else (rows_KSR, rows_KSR)
    contestants = [*case.best, case.baseline]
    claimed_KSR = read_KSR[np.ix_(contestants, case.seeds)]
    others = [seed for seed in range(rows_KSR.shape[1]) if seed not in case.seeds]
    true_K = true_KSR[:, others].mean(axis=(1, 2))
    if not (np.isfinite(claimed_KSR).all() and np.isfinite(true_K[contestants]).all()):
        return None
    ended = {
        (number, seed): RunRow(value=float(rows_R.mean()), row_scores=rows_R.tolist(), failure=None)
        for number, rows_SR in zip(contestants, claimed_KSR, strict=True)
        for seed, rows_R in enumerate(rows_SR)
    }
    best = [_trial(number) for number in case.best]
    found = verdict(SPEC, best, case.baseline, ended)
    assert found.winner is not None
    return found.verdict == "better", bool(true_K[found.winner] < true_K[case.baseline])


def _trial(number: int) -> FrozenTrial:
    trial = create_trial(state=TrialState.COMPLETE, value=0.0)
    trial.number = number
    return trial


def count_claims(table: Table, n_splits: int, *, with_peer: bool, other_rows: bool) -> Counter[tuple[bool, bool]]:
    """Return how often a gain was claimed or not, and was there or not, over all tasks."""
    chance = np.random.default_rng(0)
    counts: Counter[tuple[bool, bool]] = Counter()
    for rows_KSR in table.row_losses_TKSR.astype(np.float64):
        n_rows = int(np.isfinite(rows_KSR).any(axis=(0, 1)).sum())
        n_configurations, n_seeds, _ = rows_KSR.shape
        for case in cases(n_configurations, n_seeds, n_splits, with_peer=with_peer, chance=chance):
            judged = judge(rows_KSR[..., :n_rows], case, other_rows=other_rows)
            counts.update([judged] if judged is not None else [])
    return counts


def synthetic(n_tasks: int = 24, n_configurations: int = 9, n_seeds: int = 8) -> Table:
    """Return a table of row losses: those of a row are alike in all configurations, and a third of the gains is 0."""
    chance = np.random.default_rng(1)
    row_losses = np.full((n_tasks, n_configurations, n_seeds, 256), np.nan)
    for task in range(n_tasks):
        n_rows = int(chance.choice([64, 128, 256]))
        gains_K = chance.choice([0.0, 0.02, 0.1, 0.4], p=[0.35, 0.3, 0.2, 0.15], size=n_configurations)
        gains_K[0] = 0.0
        seed_noise = chance.choice([0.01, 0.05, 0.15])
        hardness_R = chance.lognormal(-1.0, 1.2, n_rows)
        own_KR = chance.lognormal(0.0, 0.4, (n_configurations, n_rows))
        drawn_KSR = chance.lognormal(0.0, 0.4, (n_configurations, n_seeds, n_rows))
        of_seed_KS = np.exp(seed_noise * chance.standard_normal((n_configurations, n_seeds)))
        losses_KSR = hardness_R * own_KR[:, None] * drawn_KSR * of_seed_KS[..., None] * np.exp(-gains_K)[:, None, None]
        row_losses[task, ..., :n_rows] = losses_KSR
    n_repeated = (n_tasks, n_configurations, n_seeds)
    return Table(
        tasks=[f"synthetic-{task}" for task in range(n_tasks)],
        search_space={},
        configurations=[{}] * n_configurations,
        evaluations_per_epoch=1,
        curves_TNEM=np.empty((n_tasks, n_configurations, 0, len(METRICS)), np.float16),
        seconds_TN=np.zeros((n_tasks, n_configurations), np.float32),
        repeated_TK=np.tile(np.arange(n_configurations, dtype=np.int16), (n_tasks, 1)),
        repeats_TKSEM=np.empty((*n_repeated, 0, len(METRICS)), np.float16),
        row_losses_TKSR=row_losses.astype(np.float16),
    )


def main(table: Path, out: Path, n_splits: int) -> None:
    """Count the claims of each kind, and append a line for each to ``out``."""
    is_synthetic = str(table) == "synthetic"
    read = synthetic() if is_synthetic else Table.load(table)
    for with_peer in (False, True):
        for other_rows in (False, True):
            counts = count_claims(read, n_splits, with_peer=with_peer, other_rows=other_rows)
            line = _line(counts) | {
                "table": "synthetic" if is_synthetic else table.name,
                "tasks": len(read.tasks),
                "compared_with": "peer" if with_peer else "baseline",
                "rows_of_the_truth": "other" if other_rows else "same",
            }
            print(json.dumps(line))
            with out.open("a") as lines:
                lines.write(json.dumps(line) + "\n")


def _line(counts: Counter[tuple[bool, bool]]) -> dict[str, float | int | None]:
    n_claims, n_all = sum(n for (is_claimed, _), n in counts.items() if is_claimed), counts.total()
    n_gains = sum(n for (_, is_true), n in counts.items() if is_true)
    return {
        "comparisons": n_all,
        "claims": n_claims,
        "claims_true": _share(counts[True, True], n_claims),
        "winner_is_better": _share(n_gains, n_all),  # what a claim each time would come to
        "gains_claimed": _share(counts[True, True], n_gains),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path, help="ft_table.npz, or the word synthetic")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=56, help="studies of each task")
    given = parser.parse_args()
    main(given.table, given.out, given.splits)
