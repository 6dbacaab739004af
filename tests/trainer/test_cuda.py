"""What only a GPU can show; without one these are skipped, and `test_memory` and `test_engine` simulate the errors."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from trainer.model.best_model import BestModel
from trainer.train import fine_tune as module
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import prepare
from trainer.train.train_step import accumulate_gradients
from trainer.trial.config import TrialConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CUDA = torch.device("cuda")
PARAMS = {"learning_rate": 3e-3, "epochs": 2, "batch_size": 16, "dropout": 0.0}
ASSERT_ON_THE_DEVICE = """
import torch
from trainer.engine.engine import failure_of
try:
    torch.ones(3, device="cuda")[torch.tensor([7], device="cuda")]
    torch.cuda.synchronize()
except RuntimeError as error:
    print(failure_of(error).failure_class)
"""


def run(root: Path, device: torch.device, precision: str = "fp32") -> list[Evaluation]:
    prepared = prepare(tiny.make_spec(training={"precision": precision}), roots=[root], device=device)
    return list(fine_tune(prepared, TrialConfig.from_params(PARAMS), seed=0, number=0, best=BestModel()))


def losses(evaluations: list[Evaluation]) -> list[float]:
    return [value for one in evaluations for value in (one.value, one.metrics["train_loss"])]


def test_a_trial_has_the_losses_of_one_on_the_cpu(pristine: Path) -> None:
    assert losses(run(pristine, CUDA)) == pytest.approx(losses(run(pristine, tiny.CPU)), rel=1e-3)


def test_bf16_has_the_losses_of_fp32_within_two_per_cent(pristine: Path) -> None:
    assert losses(run(pristine, CUDA, "bf16")) == pytest.approx(losses(run(pristine, CUDA)), rel=0.02)


def test_memory_that_the_device_has_not_is_healed(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(pristine, CUDA)
    pieces = []

    def short_of_memory(
        model: Any, task: Any, split: Any, rows_B: Any, *more: Any, micro_batch_size: int, **options: Any
    ) -> torch.Tensor:
        pieces.append(micro_batch_size)
        if micro_batch_size > 4:
            torch.empty(2**50, dtype=torch.uint8, device=CUDA)
        return accumulate_gradients(model, task, split, rows_B, *more, micro_batch_size=micro_batch_size, **options)

    monkeypatch.setattr(module, "accumulate_gradients", short_of_memory)
    healed = run(pristine, CUDA)
    assert pieces[:3] == [16, 8, 4]
    assert losses(healed) == pytest.approx(losses(whole), rel=1e-3)


def test_an_assert_on_the_device_is_a_device_error_and_dies_with_its_process(pristine: Path) -> None:
    told = subprocess.run([sys.executable, "-c", ASSERT_ON_THE_DEVICE], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "device_error"
    assert run(pristine, CUDA)
