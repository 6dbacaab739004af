"""Several objectives: which evaluation of a trial counts, and whose model is kept."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from trainer.errors import ConfigError
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.pilot import run_pilot
from trainer.train.script import run_script
from trainer.trial.config import TrialConfig

CONFIG = TrialConfig.from_params({"learning_rate": 1e-2, "epochs": 4, "batch_size": 8})
ACCURACY_FIRST = [{"metric": "accuracy"}, {"metric": "validation_loss"}, {"metric": "device_seconds"}]
LOSS_FIRST = ACCURACY_FIRST[1::-1]


class Steps(BestModel):
    """Remembers at which evaluations a model was kept."""

    def __init__(self) -> None:
        super().__init__()
        self.n_evaluations = 0
        self.kept: list[int] = []

    def keep(self, *arguments: Any) -> None:
        self.kept.append(self.n_evaluations + 1)


@pytest.mark.parametrize(
    ("objective", "sign"), [(ACCURACY_FIRST, -1), (LOSS_FIRST, 1)], ids=["accuracy first", "loss first"]
)
def test_the_first_objective_chooses_the_model(prepare_study: Prepare, objective: Any, sign: int) -> None:
    prepared = prepare_study(objective=objective)
    best, values = Steps(), []
    for evaluation in fine_tune(prepared, CONFIG, seed=0, number=0, best=best):
        assert evaluation.value == evaluation.metrics[objective[0]["metric"]]
        best.n_evaluations += 1
        values.append(sign * evaluation.value)
    assert best.kept == [
        step for step, value in enumerate(values, start=1) if value < min(values[: step - 1], default=9)
    ]
    small = run_pilot(prepared, CONFIG, fraction=0.5, number=0)
    assert {"accuracy", "validation_loss"} <= small.keys()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"objective": [{"metric": "validation_loss"}, {"metric": "subset_accuracy"}]}, "objective[1]"),
        ({"constraints": [{"metric": "f1_micro", "at_least": 0.5}]}, "constraints[0]"),
    ],
)
def test_a_metric_of_other_labels_is_refused_wherever_it_stands(
    pristine: Path, prepare_study: Prepare, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{field}.metric = ")):
        prepare_study(**changes)


def test_every_evaluation_may_tell_a_gap_and_a_cost(prepare_study: Prepare) -> None:
    limits = [{"metric": "generalization_gap", "at_most": 1.0}, {"metric": "device_seconds", "at_most": 60.0}]
    assert prepare_study(constraints=limits).facts.classes == list(tiny.CLASSES)


def test_a_script_tells_all_that_the_study_goes_by() -> None:
    wanted = ["loss", "accuracy", "device_seconds", "generalization_gap"]
    told = {"loss": 1.0, "accuracy": 0.5, "validation_loss": 0.4, "train_loss": 0.3}
    (evaluation,) = run_script(lambda params, report: report(**told), {}, wanted)
    assert evaluation.value == 1.0
    with pytest.raises(
        ConfigError,
        match="report: accuracy, generalization_gap is missing, which an objective or constraint needs; given are loss",
    ):
        list(run_script(lambda params, report: report(loss=1.0), {}, wanted))
