"""Early stopping where evaluations are left out, and what patience counts."""

from typing import Any

import pytest

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.progress import Progress
from trainer.trial.config import TrialConfig


@pytest.mark.parametrize(
    ("is_minimized", "values"), [(True, {1: 0.5, 4: 0.4, 5: 0.6}), (False, {1: 0.5, 4: 0.6, 5: 0.4})]
)
def test_patience_counts_steps_whether_they_are_evaluated_or_not(is_minimized: bool, values: dict[int, float]) -> None:
    progress = Progress(is_minimized=is_minimized, patience=3, trunk=None)
    assert [progress.note(step, value) for step, value in values.items()] == [True, True, False]
    assert not progress.is_out_of_patience
    assert not progress.note(7, 0.5)
    assert progress.is_out_of_patience
    again = Progress(is_minimized=is_minimized, patience=3, trunk=None)
    again.load_state_dict(progress.state_dict())
    assert (again.step, again.loss, again.is_best) == (7, 0.5 if is_minimized else -0.5, False)
    assert again.is_out_of_patience


def test_a_value_of_a_part_of_the_rows_is_never_the_best() -> None:
    progress = Progress(is_minimized=True, patience=3, trunk=None)
    assert progress.note(1, 0.5)
    progress.note_partial(2, 0.1)
    assert (progress.step, progress.loss, progress.is_best) == (2, 0.1, False)
    assert progress.note(3, 0.4)
    assert progress.is_best


@pytest.mark.parametrize(
    ("pruner", "n_evaluations"), [({"name": "none"}, 3), ({"name": "rungs"}, 9)], ids=["evaluations", "epochs"]
)
def test_patience_is_of_epochs_under_rungs_and_of_evaluations_otherwise(
    prepare_study: Prepare, pruner: dict[str, Any], n_evaluations: int
) -> None:
    training = {"evaluations_per_epoch": 4, "early_stopping_patience": 2}
    prepared = prepare_study(training=training, pruner=pruner, n_trials=4)
    config = TrialConfig.from_params({"learning_rate": 1e-12, "epochs": 3, "batch_size": 16})
    evaluations = list(fine_tune(prepared, config, seed=0, number=0, best=BestModel()))
    assert len(evaluations) == n_evaluations
    assert prepared.device == tiny.CPU
