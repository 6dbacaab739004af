"""Numbers that depend on what they should, and on nothing else: precision within a tolerance, no worker's habits."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from tests.trainer.task_cases import CASES, TaskCase
from trainer.data.batches import trial_batches
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

BF16_TOLERANCE = 0.02
"""Relative, of losses: bf16 keeps 8 bits of a number, 0.4 %, and errors add up over a trial."""

ORDER = """
import json, sys
from pathlib import Path
from spezia.contract.study_spec import StudySpec
from trainer.data.batches import trial_batches
from trainer.train.prepare import prepare
import torch
torch.set_num_threads(2)
torch.manual_seed(2)
prepared = prepare(StudySpec.model_validate_json(sys.argv[1]), roots=[Path(sys.argv[2])], device=torch.device("cpu"))
lengths = prepared.train.lengths_N
orders = [
    [rows.tolist() for rows in trial_batches(lengths, batch_size=8, epochs=3, seed=5, number=number)]
    for number in (0, 1)
]
print(json.dumps(orders))
"""


def run(prepared: Prepared, **params: Any) -> list[Evaluation]:
    config = TrialConfig.from_params({"learning_rate": 1e-3, "epochs": 3, "batch_size": 8} | params)
    return list(fine_tune(prepared, config, seed=0, number=0, best=BestModel()))


@pytest.mark.parametrize("params", [{"dropout": 0.0}, {"dropout": 0.0, "frozen_layers": 2}])
def test_bf16_gives_the_losses_of_fp32_within_its_tolerance(prepared: Prepared, params: dict[str, Any]) -> None:
    check_bf16(prepared, **params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "params"),
    [
        pytest.param(case, params, id=f"{case.id}-{params}")
        for case in CASES
        for params in ({}, {"method": "lora", "lora_rank": 4}, {"method": "head_only"})
        # a head that is tied to the embeddings cannot train alone
        if (case.id, params.get("method")) != ("texts-to-write", "head_only")
    ],
)
def test_bf16_keeps_its_tolerance_in_every_task(case: TaskCase, params: dict[str, Any], tmp_path: Path) -> None:
    case.write(tmp_path)
    spec = tiny.make_spec(**case.spec(training={"similarity": False}))
    check_bf16(prepare(spec, roots=[tmp_path], device=tiny.CPU), **params)


def check_bf16(prepared: Prepared, **params: Any) -> None:
    # `prepare` would refuse bf16 on a CPU that emulates it, which is slow and just as inexact
    halved = replace(prepared, facts=prepared.facts.model_copy(update={"precision": "bf16"}))
    exact, rounded = run(prepared, **params), run(halved, **params)
    for name in ("validation_loss", "train_loss"):
        expected = [one.metrics[name] for one in exact]
        assert [one.metrics[name] for one in rounded] == pytest.approx(expected, rel=BF16_TOLERANCE)
        assert [one.metrics[name] for one in rounded] != expected  # it was computed in bf16


@pytest.mark.slow
def test_the_order_of_the_data_is_the_same_whatever_the_worker(prepare_study: Prepare, pristine: Path) -> None:
    prepared = prepare_study(data={"validation": None})
    lengths = prepared.train.lengths_N
    orders = [
        [rows.tolist() for rows in trial_batches(lengths, batch_size=8, epochs=3, seed=5, number=number)]
        for number in (0, 1)
    ]
    assert orders[0] != orders[1]
    done = subprocess.run(
        [sys.executable, "-c", ORDER, prepared.spec.model_dump_json(), str(pristine)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "2"},
    )
    assert json.loads(done.stdout) == orders
