"""Running out of memory is healed: smaller pieces, the same effective batch, the same losses."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.trainer.conftest import Prepare
from tests.trainer.short_memory import fail_once
from trainer.model.best_model import BestModel
from trainer.model.micro_batch_size import MemoryHints, MicroBatchSize, is_out_of_memory
from trainer.train import begin_trial as module
from trainer.train import evaluate as evaluate_module
from trainer.train import trial_steps
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.optimizer import make_optimizer
from trainer.train.prepare import Prepared
from trainer.train.train_step import accumulate_gradients
from trainer.trial.config import TrialConfig

PARAMS = {"learning_rate": 3e-3, "epochs": 2, "batch_size": 16}
SHORT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class SmallDevice:
    """More than 100 padded tokens at once do not fit; the failure comes after half of the work."""

    def __init__(self, error: Exception = SHORT) -> None:
        self.error = error
        self.pieces: list[int] = []

    def __call__(
        self, model: Any, task: Any, split: Any, rows_B: Any, *more: Any, micro_batch_size: int, **options: Any
    ) -> torch.Tensor:
        self.pieces.append(micro_batch_size)
        if micro_batch_size * split.lengths_N[rows_B].max() > 100:
            rows_B = rows_B[: len(rows_B) // 2]
            accumulate_gradients(model, task, split, rows_B, *more, micro_batch_size=1, **options)
            raise self.error
        return accumulate_gradients(model, task, split, rows_B, *more, micro_batch_size=micro_batch_size, **options)


def run(prepared: Prepared, hints: MemoryHints | None = None, **params: Any) -> list[Evaluation]:
    config = TrialConfig.from_params(PARAMS | params)
    return list(fine_tune(prepared, config, seed=0, number=0, best=BestModel(), hints=hints))


@pytest.fixture(scope="module")
def two_batches(prepared: Prepared) -> Prepared:
    """A study of two batches for training: a device that holds few rows makes many passes of each."""
    return replace(prepared, train=prepared.train.take(range(32)))


def losses(evaluations: list[Evaluation]) -> list[float]:
    return [value for one in evaluations for value in (one.value, one.metrics["train_loss"])]


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SmallDevice]:
    def make(error: Exception = SHORT) -> SmallDevice:
        device = SmallDevice(error)
        monkeypatch.setattr(trial_steps, "accumulate_gradients", device)
        return device

    return make


def test_healed_trial_has_the_losses_of_one_that_fits(
    prepared: Prepared, small_device: Callable[..., SmallDevice]
) -> None:
    whole = run(prepared, dropout=0.3)
    device = small_device()
    healed = run(prepared, dropout=0.3)
    assert device.pieces[:4] == [16, 8, 4, 4]  # what fits is remembered for the next step
    assert 16 not in device.pieces[1:]
    assert losses(healed) == pytest.approx(losses(whole), rel=1e-5)
    assert [one.optimizer_steps for one in healed] == [one.optimizer_steps for one in whole]


@pytest.mark.parametrize("n_failures", [1, 2])
def test_memory_for_the_moments_is_asked_for_twice_and_before_any_step(
    two_batches: Prepared, monkeypatch: pytest.MonkeyPatch, n_failures: int
) -> None:
    whole = run(two_batches, epochs=1)
    asked: list[object] = []

    def make(*arguments: Any) -> torch.optim.AdamW:
        asked.append(arguments)
        if len(asked) <= n_failures:
            raise SHORT
        return make_optimizer(*arguments)

    monkeypatch.setattr(module, "make_optimizer", make)
    if n_failures == 1:
        assert losses(run(two_batches, epochs=1)) == losses(whole)
    else:
        with pytest.raises(torch.OutOfMemoryError):
            run(two_batches, epochs=1)
    assert len(asked) == 2


def test_healed_step_restarts_from_its_own_seed(
    two_batches: Prepared, small_device: Callable[..., SmallDevice]
) -> None:
    hints = MemoryHints()
    device = small_device()
    healed = run(two_batches, hints, dropout=0.3)
    device.pieces.clear()
    again = run(two_batches, hints, dropout=0.3)
    assert 16 not in device.pieces
    assert losses(again) == losses(healed)  # to the last bit: nothing of the failed tries is left


def test_the_next_trial_starts_with_what_fits_after_a_restart_too(
    two_batches: Prepared, small_device: Callable[..., SmallDevice], tmp_path: Path
) -> None:
    device = small_device()
    run(two_batches, MemoryHints(tmp_path))
    for hints, changes, starts_small in (
        (MemoryHints(tmp_path), {}, True),
        (MemoryHints(tmp_path), {"learning_rate": 1e-4, "weight_decay": 0.3}, True),
        (MemoryHints(tmp_path), {"frozen_layers": 2}, False),
        (MemoryHints(), {}, False),
    ):
        device.pieces.clear()
        run(two_batches, hints, **changes)
        assert (device.pieces[0] < 16) == starts_small, changes
    assert not [name for name in os.listdir(tmp_path) if not name.endswith(".json")]


@pytest.mark.parametrize(
    "error",
    [
        SHORT,
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("Triton Error [CUDA]: CUDA_ERROR_OUT_OF_MEMORY"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_every_kind_of_memory_is_healed(
    two_batches: Prepared, small_device: Callable[..., SmallDevice], error: Exception
) -> None:
    small_device(error)
    assert len(run(two_batches)) == 2


def test_single_row_that_does_not_fit_is_out_of_memory() -> None:
    tried: list[int] = []
    with pytest.raises(torch.OutOfMemoryError):
        MicroBatchSize(1_000).run(lambda rows: tried.append(rows) or _fail(SHORT), n_rows=16, longest=10)
    assert tried == [16, 8, 4, 2, 1]


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: device-side assert triggered"), ValueError("shape")])
def test_nothing_else_is_tried_again(error: Exception) -> None:
    tried: list[int] = []
    with pytest.raises(type(error)):
        MicroBatchSize(1_000).run(lambda rows: tried.append(rows) or _fail(error), n_rows=16, longest=10)
    assert tried == [16]
    assert not is_out_of_memory(error)


def test_pieces_shrink_below_a_batch_that_was_never_cut() -> None:
    micro_batch = MicroBatchSize(100_000)
    tried: list[int] = []

    def work(rows: int) -> int:
        tried.append(rows)
        return rows if rows <= 4 else _fail(SHORT)

    assert micro_batch.run(work, n_rows=16, longest=10) == 4
    assert tried == [16, 8, 4]
    assert micro_batch.rows(64, 20) == 2


def test_failed_try_lets_go_of_its_tensors() -> None:
    """An exception that is still held, in `sys.exc_info` or a variable, would keep what the retry needs."""
    alive: list[int] = []

    class Big:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def work(rows: int) -> int:
        assert alive == []
        big = Big()
        return rows if rows == 1 else _fail(torch.OutOfMemoryError("CUDA out of memory"), big)

    assert MicroBatchSize(100).run(work, n_rows=4, longest=10) == 1


def test_evaluation_is_healed(two_batches: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(two_batches)
    real = evaluate_module.over_logits
    sizes: list[int] = []

    def over_logits(work: Any, model: Any, batch: Any, precision: Any) -> Any:
        sizes.append(len(batch.targets))
        if sizes[-1] > 8:
            raise SHORT
        return real(work, model, batch, precision)

    monkeypatch.setattr(evaluate_module, "over_logits", over_logits)
    healed = run(two_batches)
    assert sizes[:3] == [30, 15, 6]
    assert sizes.count(30) == 1  # the second evaluation knows
    assert losses(healed) == pytest.approx(losses(whole), rel=1e-6)


@pytest.mark.parametrize(
    ("n_rows", "tokens", "pieces"), [(64, 63, [32, 32]), (64, 64, [64]), (65, 32, [22, 22, 21]), (3, 1, [1, 1, 1])]
)
def test_micro_batches_are_equal_pieces(n_rows: int, tokens: int, pieces: list[int]) -> None:
    size = MicroBatchSize(tokens * 130).rows(n_rows, 130)
    assert [len(range(n_rows)[start : start + size]) for start in range(0, n_rows, size)] == pieces


@pytest.mark.parametrize("params", [{}, {"frozen_layers": 2}], ids=["while the model moves", "at the first probe"])
def test_a_trial_that_begins_short_of_memory_begins_again(
    prepared: Prepared, prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    whole = run(prepared, epochs=1, **params)
    unseen = prepare_study()  # where nobody has probed such a model before
    failed = fail_once(monkeypatch, *((module, "forward") if params else (PreTrainedModel, "to")))
    assert losses(run(unseen, epochs=1, **params)) == losses(whole)
    assert failed


def _fail(error: Exception, *_held: object) -> Any:
    raise error
