"""Small runs: which rows they see, and what they say."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.data.subset import subset_rows
from trainer.data.tokenised_split import TokenisedSplit
from trainer.errors import Diverged
from trainer.model.best_model import BestModel
from trainer.train import pilot as module
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.pilot import run_pilot
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2})


def split(targets: list[float] | list[int] | list[list[int]]) -> TokenisedSplit:
    n_rows = len(targets)
    return TokenisedSplit(
        tokens_S=np.zeros(n_rows, dtype=np.int32),
        starts_N1=np.arange(n_rows + 1),
        targets=np.array(targets),
        pad_id=0,
        truncated_rows=0,
    )


def test_every_class_keeps_its_share() -> None:
    targets = [0] * 50 + [1] * 20 + [2] * 3
    rows = subset_rows(split(targets), 0.1, seed=0)
    assert [np.array(targets)[rows].tolist().count(label) for label in range(3)] == [5, 2, 1]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize(
    "targets",
    [[row % 3 for row in range(100)], [row / 7 for row in range(100)], [[row % 2, 1] for row in range(100)]],
    ids=["classes", "numbers", "several classes a row"],
)
def test_a_smaller_subset_lies_inside_a_larger_one(targets: list[int]) -> None:
    subsets = [set(subset_rows(split(targets), fraction, seed=3)) for fraction in (0.05, 0.1, 0.3, 0.31, 0.9)]
    assert all(smaller < larger for smaller, larger in pairwise(subsets))
    assert len(subsets[2]) == pytest.approx(30, abs=3)


def test_the_seed_decides_the_rows() -> None:
    rows = split([row % 3 for row in range(100)])
    assert subset_rows(rows, 0.2, seed=1) == subset_rows(rows, 0.2, seed=1)
    assert subset_rows(rows, 0.2, seed=1) != subset_rows(rows, 0.2, seed=2)


def test_it_is_the_trial_on_a_file_of_those_rows(root: Path, prepared: Prepared) -> None:
    rows = subset_rows(prepared.train, 0.25, seed=0)
    examples = tiny.make_examples(96, seed=1)
    tiny.write_csv(root / "small.csv", [examples[row] for row in rows])
    alone = prepare(tiny.make_spec(data={"train": "small.csv"}), roots=[root], device=tiny.CPU)
    trial = fine_tune(alone, CONFIG, seed=0, number=2, best=BestModel())
    expected = min(trial, key=lambda evaluation: evaluation.value).metrics
    assert run_pilot(prepared, CONFIG, fraction=0.25, number=2) == expected


def test_the_best_evaluation_counts(prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(*_: object, **__: object) -> list[Evaluation]:
        fields: dict[str, Any] = {"epoch": 1.0, "optimizer_steps": 1, "final": False}
        return [Evaluation(step=1, value=value, metrics={"accuracy": value}, **fields) for value in (0.2, 0.7, 0.4)]

    monkeypatch.setattr(module, "fine_tune", play)
    maximized = prepare_study(objective={"metric": "accuracy"})
    assert run_pilot(maximized, CONFIG, fraction=0.5, number=0) == {"accuracy": 0.7}
    assert run_pilot(prepare_study(), CONFIG, fraction=0.5, number=0) == {"accuracy": 0.2}


def test_a_short_epoch_may_be_too_short_for_the_studys_evaluations(prepare_study: Prepare) -> None:
    often = prepare_study(training={"evaluations_per_epoch": 6})  # 6 steps of 16 rows; a quarter has 2
    assert run_pilot(often, CONFIG, fraction=0.25, number=0)["validation_loss"] > 0


def test_one_that_diverges_says_so(prepared: Prepared) -> None:
    wild = TrialConfig.from_params({"learning_rate": 1.0, "epochs": 30, "max_grad_norm": 0.0, "weight_decay": 10.0})
    with pytest.raises(Diverged):
        run_pilot(prepared, wild, fraction=0.5, number=0)
