"""A trial is the same to the last bit in a process that has trained others before, and in one that has not."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer import tiny
from tests.trainer.short_memory import fail_once
from tests.trainer.task_cases import CASES, TaskCase
from trainer.errors import Diverged
from trainer.model.best_model import BestModel
from trainer.model.freeze import Structure
from trainer.train import trial_steps
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

METHODS: dict[str, dict[str, Any]] = {
    "full": {"dropout": 0.3},
    "frozen": {"frozen_layers": 1, "layer_lr_decay": 0.9},
    "gradual": {"unfreeze": "gradual", "dropout": 0.3},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "lora_rank": 4, "lora_dropout": 0.3, "frozen_layers": 1},
    "checkpointing": {"gradient_checkpointing": True, "dropout": 0.0},
}
TIED = ("texts-to-write", "head_only")
"""Refused: the head shares its weights with the embeddings."""


class Process:
    """What the trials of one engine share."""

    def __init__(self, prepared: Prepared, root: Path) -> None:
        # Nothing that trials before have found out
        self._prepared = replace(prepared, pretrained=replace(prepared.pretrained, structure=Structure()))
        self._cache = TrunkCache(root, 2**24)

    def train(self, params: dict[str, Any], *, evaluations: int = 3) -> tuple[list[float], dict[str, torch.Tensor]]:
        """Train one trial up to a number of evaluations; return its losses and its best weights."""
        config = TrialConfig.from_params({"learning_rate": 1e-3, "epochs": 1, "batch_size": 12} | params)
        best, found = BestModel(), []
        trial = fine_tune(self._prepared, config, seed=7, number=4, best=best, cache=self._cache)
        for _ in range(evaluations):
            one = next(trial)
            found += [one.metrics["train_loss"], one.value]
        trial.close()
        self._prepared.pretrained.copy_ahead()
        return found, best.state_dict()


def spoil(process: Process) -> None:
    """Train a trial that runs out of memory and is pruned, and one that diverges."""
    with pytest.MonkeyPatch.context() as patch:
        failed = fail_once(patch, trial_steps, "accumulate_gradients")
        process.train({"dropout": 0.5, "label_smoothing": 0.1}, evaluations=1)
        assert failed
    with pytest.MonkeyPatch.context() as patch:
        work = trial_steps.accumulate_gradients
        patch.setattr(trial_steps, "accumulate_gradients", lambda *args, **options: math.nan * work(*args, **options))
        with pytest.raises(Diverged):
            process.train({"learning_rate": 1.0})


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=() if case is CASES[0] else pytest.mark.slow) for case in CASES],
)
def test_a_trial_is_the_same_whatever_its_process_has_trained(case: TaskCase, tmp_path: Path) -> None:
    case.write(tmp_path)
    overrides = case.spec(training={"evaluations_per_epoch": 3, "similarity": False})
    prepared = prepare(tiny.make_spec(**overrides), roots=[tmp_path], device=tiny.CPU)
    methods = [method for method in METHODS if (case.id, method) != TIED]
    alone = {method: Process(prepared, tmp_path / method).train(METHODS[method]) for method in methods}
    busy = Process(prepared, tmp_path / "busy")
    for method in methods:
        busy.train(METHODS[method], evaluations=2)
    spoil(busy)
    for method in reversed(methods):
        losses, weights = busy.train(METHODS[method])
        assert losses == alone[method][0], method
        assert weights.keys() == alone[method][1].keys(), method
        assert all(torch.equal(weights[name], alone[method][1][name]) for name in weights), method
