"""Nothing makes a trial mean something else than its params, its data and its seed: not how much memory there is, which
rows are padded how far, whether frozen blocks come from the cache, who trained before, or where it was interrupted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from spezia.contract.assignments import Resume
from tests.trainer import tiny
from tests.trainer.task_cases import CASES
from trainer.data.tokenised_split import IGNORED, Batch, TokenisedSplit
from trainer.model.best_model import BestModel
from trainer.train import trial_steps
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.train.train_step import accumulate_gradients
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

COMMON: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 12, "dropout": 0.3}
"""Three optimizer steps, an evaluation after each."""
N_STEPS = 3
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "frozen": {"frozen_layers": 1},
    "gradual": {"unfreeze": "gradual"},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "lora_rank": 4, "lora_dropout": 0.3},
    "lora-frozen": {"method": "lora", "lora_rank": 4, "lora_dropout": 0.3, "frozen_layers": 2},
}
TIED = ("texts-to-write", "head_only")
"""Refused: the head shares its weights with the embeddings."""
STUDIES = [f"{case.id} {method}" for case in CASES for method in METHODS if (case.id, method) != TIED]


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a trial must not notice."""

    memory_rows: int = 12
    """Rows that fit into memory: more of them at once fail after half of the work."""
    padding: int = 0
    """Tokens of padding beside the longest row of each batch."""
    pads_left: bool = False
    """Whether padding comes first, which only models without absolute positions bear."""
    cached: bool = False
    """Whether there is a cache of frozen blocks."""
    recomputes: bool = False
    """Whether activations are computed again in the backward pass."""
    interrupted_before: int = N_STEPS
    """Optimizer step before which the trial is stopped and goes on elsewhere, counted from 0; the last: never."""
    noise: int = 0
    """What other work has made of the random numbers of the process."""


CIRCUMSTANCES = st.builds(
    Circumstances,
    memory_rows=st.integers(1, 12),
    padding=st.integers(0, 5),
    pads_left=st.booleans(),
    cached=st.booleans(),
    recomputes=st.booleans(),
    interrupted_before=st.integers(1, N_STEPS),
    noise=st.integers(0, 2**32),
)


class Padded(TokenisedSplit):
    """Rows that are padded further than the longest of them."""

    padding = 0

    def collate(self, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
        """Put rows on ``device`` with more padding."""
        batch = super().collate(rows_B, device)
        widths = (self.padding, 0) if self.pads_left else (0, self.padding)
        pads = {"input_ids": self.pad_id}
        inputs = {
            name: functional.pad(values, widths, value=pads.get(name, 0)) for name, values in batch.inputs.items()
        }
        targets = functional.pad(batch.targets, widths, value=IGNORED) if self.has_token_targets else batch.targets
        starts_B = batch.starts_B if batch.starts_B is None else batch.starts_B + self.padding
        return replace(
            batch, inputs=inputs, targets=targets, starts_B=starts_B, next_N=self._moved(batch.next_N, batch.targets)
        )

    def _moved(self, next_N: torch.Tensor | None, targets_BT: torch.Tensor) -> torch.Tensor | None:
        if next_N is None:
            return None
        n_tokens = targets_BT.shape[1]
        first = self.padding if self.pads_left else 0
        return next_N // n_tokens * (n_tokens + self.padding) + first + next_N % n_tokens


def padded(split: Any, circumstances: Circumstances, *, can_pad_left: bool) -> Any:
    if not isinstance(split, TokenisedSplit):
        return split
    wider = Padded(**{name: getattr(split, name) for name in split.__dataclass_fields__})
    object.__setattr__(wider, "padding", circumstances.padding)
    object.__setattr__(wider, "pads_left", circumstances.pads_left and can_pad_left)
    return wider


def small_memory(n_rows: int) -> Callable[..., torch.Tensor]:
    """What ``accumulate_gradients`` does where ``n_rows`` fit."""

    def accumulate(
        model: Any, task: Any, split: Any, rows_B: Any, *more: Any, micro_batch_size: int, **options: Any
    ) -> torch.Tensor:
        too_many = micro_batch_size > n_rows
        rows_B = rows_B[: len(rows_B) // 2] if too_many else rows_B
        loss = accumulate_gradients(model, task, split, rows_B, *more, micro_batch_size=micro_batch_size, **options)
        if too_many:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return loss

    return accumulate


def losses(prepared: Prepared, params: dict[str, Any], circumstances: Circumstances, root: Path) -> list[float]:
    """Training and validation losses of a trial, from its start to its end."""
    can_pad_left = prepared.pretrained.model.config.model_type == "llama"
    prepared = replace(
        prepared,
        train=padded(prepared.train, circumstances, can_pad_left=can_pad_left),
        validation=padded(prepared.validation, circumstances, can_pad_left=can_pad_left),
    )
    config = TrialConfig.from_params(COMMON | params | {"gradient_checkpointing": circumstances.recomputes})
    found = []

    def run(attempt: int, resume: Resume | None, stops_at: int) -> int:
        looks = count()
        kept = Checkpoints(
            folder=CheckpointFolder(root / "checkpoints"),
            study_id="f" * 32,
            number=4,
            attempt=attempt,
            versions={"torch": torch.__version__},
            resume=resume,
            is_stop_wanted=lambda: next(looks) >= stops_at,
        )
        cache = TrunkCache(root / "cache", 2**24) if circumstances.cached else None
        n_before = len(found)
        try:
            for one in fine_tune(prepared, config, seed=7, number=4, best=BestModel(), checkpoints=kept, cache=cache):
                found.extend((one.metrics["train_loss"], one.value))
                torch.manual_seed(circumstances.noise)
        except Preempted:
            pass
        return (len(found) - n_before) // 2

    torch.manual_seed(circumstances.noise)
    n_evaluations = run(1, None, circumstances.interrupted_before)
    if circumstances.interrupted_before < N_STEPS:
        run(2, Resume(attempt=1, step=n_evaluations), N_STEPS)
    return found


class Studies:
    """Studies that have been prepared, and the losses of their trials under the best of circumstances."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prepared: dict[str, Prepared] = {}
        self._expected: dict[str, list[float]] = {}

    def check(self, study: str, circumstances: Circumstances) -> None:
        """Check that a trial has the losses that it always has."""
        case_id, method = study.split(" ")
        case = next(one for one in CASES if one.id == case_id)
        if case_id not in self._prepared:
            folder = self._root / case_id
            folder.mkdir()
            case.write(folder)
            overrides = case.spec(training={"evaluations_per_epoch": N_STEPS, "similarity": False})
            self._prepared[case_id] = prepare(tiny.make_spec(**overrides), roots=[folder], device=tiny.CPU)
        prepared = self._prepared[case_id]

        def losses_in(circumstances: Circumstances) -> list[float]:
            with TemporaryDirectory(dir=self._root) as root, pytest.MonkeyPatch.context() as patch:
                patch.setattr(trial_steps, "accumulate_gradients", small_memory(circumstances.memory_rows))
                return losses(prepared, METHODS[method], circumstances, Path(root))

        if study not in self._expected:
            self._expected[study] = losses_in(Circumstances())
        found = losses_in(circumstances)
        assert len(found) == 2 * N_STEPS
        assert found == pytest.approx(self._expected[study], rel=2e-5, abs=2e-5)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return Studies(tmp_path_factory.mktemp("studies"))


WORST = Circumstances(
    memory_rows=5, padding=3, pads_left=True, cached=True, recomputes=True, interrupted_before=2, noise=9
)


@pytest.mark.slow
@pytest.mark.parametrize("case_id", [case.id for case in CASES])
@given(data=st.data(), circumstances=CIRCUMSTANCES)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_trial_of_any_task_and_method_notices_its_circumstances(
    studies: Studies, case_id: str, data: st.DataObject, circumstances: Circumstances
) -> None:
    studies.check(
        data.draw(st.sampled_from([study for study in STUDIES if study.split()[0] == case_id])), circumstances
    )


@pytest.mark.parametrize(
    "study", [pytest.param(one, marks=() if one == "tags lora-frozen" else pytest.mark.slow) for one in STUDIES]
)
def test_a_trial_at_p_0_3_notices_nothing_of_the_worst_circumstances(studies: Studies, study: str) -> None:
    studies.check(study, WORST)
