"""Small runs: which rows they see, and what they say."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.data.subset import subset_rows
from trainer.errors import Diverged
from trainer.model.best_model import BestModel
from trainer.train import pilot as module
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.pilot import run_pilot
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2})


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
