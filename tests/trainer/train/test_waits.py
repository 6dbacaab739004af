"""The host does not wait for the device at each step, nor for each piece of an evaluation."""

from pathlib import Path

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TaskCase
from tests.trainer.waits import count
from trainer.model.best_model import BestModel
from trainer.train.evaluate import evaluate
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig


def prepare_case(root: Path, case: TaskCase) -> Prepared:
    case.write(root)
    return prepare(tiny.make_spec(**case.spec(training={"similarity": False})), roots=[root], device=tiny.CPU)


def run(prepared: Prepared, batch_size: int) -> None:
    """A trial of one evaluation, after as many steps as the batch size makes of 36 rows."""
    config = TrialConfig.from_params({"learning_rate": 1e-3, "epochs": 1, "batch_size": batch_size})
    for _ in fine_tune(prepared, config, seed=0, number=0, best=BestModel()):
        pass


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_a_trial_reads_does_not_grow_with_its_steps(case: TaskCase, tmp_path: Path) -> None:
    prepared = prepare_case(tmp_path, case)
    few, many = (count(lambda size=size: run(prepared, size)) for size in (18, 4))
    assert many.n_reads == few.n_reads > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_what_an_evaluation_reads_does_not_grow_with_its_pieces(
    case: TaskCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_case(tmp_path, case)
    model = prepared.pretrained.new_model(seed=0, number=0)
    copied = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copied.append(tensor.shape) or original(tensor))
    few, many = (
        count(lambda tokens=tokens: evaluate(model, prepared.task, prepared.validation, "fp32", tokens=tokens))
        for tokens in (10_000, 20)
    )
    assert many.n_reads == few.n_reads > 0
    assert len(copied) <= 3  # one for each dtype


def test_a_step_does_not_look_for_devices(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    original = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda seed: seeds.append(seed) or original(seed))
    n_seeds = []
    for batch_size in (48, 8):
        seeds.clear()
        run(prepared, batch_size)
        n_seeds.append(len(seeds))
    assert n_seeds[0] == n_seeds[1] > 0
