"""Runs under fresh seeds: trials whose chance is another, and how each validation row came out."""

import numpy as np
import pytest

from spezia.contract.confirm import MAX_ROW_SCORES
from spezia.contract.study_spec import MAX_TRIALS
from tests.trainer.conftest import Prepare
from trainer.errors import Diverged
from trainer.model.best_model import BestModel
from trainer.train.confirm_run import confirm_run
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared
from trainer.train.row_scores import RowScores, grouped
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 3e-2, "epochs": 3})


def test_it_is_a_trial_of_a_number_that_no_trial_has(prepared: Prepared) -> None:
    trial = list(fine_tune(prepared, CONFIG, seed=0, number=MAX_TRIALS + 1, best=BestModel()))
    best = min(trial, key=lambda evaluation: evaluation.value)
    run = confirm_run(prepared, CONFIG, fresh_seed=1)
    assert run.metrics == best.metrics
    assert run.row_scores is not None
    assert float(np.mean(run.row_scores)) == pytest.approx(best.value, rel=1e-5)
    assert confirm_run(prepared, CONFIG, fresh_seed=0).metrics != best.metrics


@pytest.mark.slow
def test_steps_that_a_trial_leaves_out_are_left_out(prepared: Prepared) -> None:
    trial = list(fine_tune(prepared, CONFIG, seed=0, number=MAX_TRIALS, best=BestModel(), evaluate_at=[3]))
    assert confirm_run(prepared, CONFIG, fresh_seed=0, evaluate_at=[3]).metrics == trial[-1].metrics


def test_accuracy_is_told_as_hits_and_f1_not_at_all(prepare_study: Prepare) -> None:
    by_accuracy = prepare_study(objective={"metric": "accuracy"})
    run = confirm_run(by_accuracy, CONFIG, fresh_seed=0)
    assert run.row_scores is not None
    assert set(run.row_scores) <= {0.0, 1.0}
    assert float(np.mean(run.row_scores)) == pytest.approx(run.metrics["accuracy"])
    by_f1 = RowScores(prepare_study(objective={"metric": "f1_macro"}))
    by_f1.keep(by_accuracy.pretrained, by_accuracy.pretrained.model)
    assert by_f1.scores is None


def test_rows_beyond_the_limit_share_values_of_the_same_mean() -> None:
    scores_N = np.random.default_rng(0).normal(1.0, 1.0, 2 * MAX_ROW_SCORES + 3)
    scores_G = grouped(scores_N)
    assert len(scores_G) == MAX_ROW_SCORES
    assert scores_G.mean() == pytest.approx(scores_N.mean(), rel=1e-6)
    assert grouped(scores_N[:5]) == pytest.approx(scores_N[:5], rel=1e-6)


@pytest.mark.slow
def test_one_that_diverges_says_so(prepared: Prepared) -> None:
    wild = TrialConfig.from_params({"learning_rate": 1.0, "epochs": 30, "max_grad_norm": 0.0, "weight_decay": 10.0})
    with pytest.raises(Diverged):
        confirm_run(prepared, wild, fresh_seed=0)
