"""What only a GPU can show; without one these are skipped, and others simulate its errors.

`python benchmarks/gpu_check` runs them on a machine that has a GPU and little else.
"""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spezia.contract.assignments import Resume
from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TaskCase
from trainer.data.tokenised_split import Batch
from trainer.model.best_model import BestModel
from trainer.model.device_memory import peak_memory, release_memory, reset_peak_memory
from trainer.model.dropout_hash import has_kernel
from trainer.model.dropout_masks import DropoutMasks, Site
from trainer.train import trial_steps
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.optimizer import make_optimizer, take_step
from trainer.train.prepare import Prepared, prepare
from trainer.train.step_graphs import CudaGraphs
from trainer.train.train_step import accumulate_gradients, add_gradients
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CUDA = torch.device("cuda", 0)
PARAMS = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 8, "dropout": 0.0}
METHODS: tuple[dict[str, Any], ...] = (
    {},
    {"method": "lora", "lora_rank": 4},
    {"frozen_layers": 2},
    {"gradient_checkpointing": True},
)
ASSERT_ON_THE_DEVICE = """
import torch
from trainer.engine.failures import failure_of
try:
    torch.ones(3, device="cuda")[torch.tensor([7], device="cuda")]
    torch.cuda.synchronize()
except RuntimeError as error:
    print(failure_of(error).failure_class)
"""


def prepare_case(root: Path, case: TaskCase, device: torch.device, precision: str = "fp32") -> Prepared:
    if not (root / "model").exists():
        case.write(root)
    spec = tiny.make_spec(**case.spec(training={"similarity": False, "precision": precision}))
    return prepare(spec, roots=[root], device=device)


def prepare_pristine(root: Path, precision: str = "fp32", **training: Any) -> Prepared:
    training |= {"similarity": False, "precision": precision}
    return prepare(tiny.make_spec(training=training), roots=[root], device=CUDA)


def run(prepared: Prepared, options: dict[str, Any] | None = None, **params: Any) -> list[Evaluation]:
    """Evaluations of a trial; ``options`` are those of ``fine_tune``."""
    config = TrialConfig.from_params(PARAMS | params)
    return list(fine_tune(prepared, config, **{"seed": 0, "number": 0, "best": BestModel()} | (options or {})))


def losses(evaluations: list[Evaluation]) -> list[float]:
    return [one.metrics[name] for one in evaluations for name in ("validation_loss", "train_loss")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_task_has_the_losses_of_the_cpu(case: TaskCase, tmp_path: Path) -> None:
    on_cpu = losses(run(prepare_case(tmp_path, case, tiny.CPU)))
    assert losses(run(prepare_case(tmp_path, case, CUDA))) == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_task_has_in_bf16_the_losses_of_fp32_within_two_per_cent(case: TaskCase, tmp_path: Path) -> None:
    exact = losses(run(prepare_case(tmp_path, case, CUDA)))
    rounded = losses(run(prepare_case(tmp_path, case, CUDA, "bf16")))
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded != exact


@pytest.mark.parametrize("params", METHODS, ids=str)
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id in ("one-class", "completions")], ids=lambda c: c.id
)
def test_every_method_has_the_losses_of_the_cpu(case: TaskCase, params: dict[str, Any], tmp_path: Path) -> None:
    on_cpu = losses(run(prepare_case(tmp_path, case, tiny.CPU), **params))
    assert losses(run(prepare_case(tmp_path, case, CUDA), **params)) == pytest.approx(on_cpu, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_trial_goes_on_with_the_losses_of_an_uninterrupted_one(
    pristine: Path, tmp_path: Path, precision: str
) -> None:
    prepared = prepare_pristine(pristine, precision, evaluations_per_epoch=3)
    looks = iter(range(100))
    fields: dict[str, Any] = {
        "folder": CheckpointFolder(tmp_path),
        "study_id": "f" * 32,
        "number": 0,
        "versions": {"torch": torch.__version__},
    }
    first = Checkpoints(**fields, attempt=1, resume=None, is_stop_wanted=lambda: next(looks) == 14)
    before: list[Evaluation] = []
    with pytest.raises(Preempted):
        before += fine_tune(
            prepared,
            TrialConfig.from_params(PARAMS | {"dropout": 0.1}),
            seed=0,
            number=0,
            best=BestModel(),
            checkpoints=first,
        )
    (held,) = CheckpointFolder(tmp_path).held({"torch": torch.__version__})
    resume = Resume(attempt=1, step=held.step)
    second = Checkpoints(**fields, attempt=2, resume=resume, is_stop_wanted=lambda: False)
    rest = run(prepared, {"checkpoints": second}, dropout=0.1)
    # the sums of some kernels have no fixed order
    assert losses(rest) == pytest.approx(losses(run(prepared, dropout=0.1))[2 * held.step :], rel=1e-3)
    assert rest


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.02)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_trunk_cache_is_used_and_changes_no_loss(
    case: TaskCase, tmp_path: Path, caplog: pytest.LogCaptureFixture, precision: str, tolerance: float
) -> None:
    prepared = prepare_case(tmp_path, case, CUDA, precision)
    plain = losses(run(prepared, frozen_layers=2))
    with caplog.at_level(logging.INFO):
        cached = losses(run(prepared, {"cache": TrunkCache(tmp_path / "cache", 2**24)}, frozen_layers=2))
    assert cached == pytest.approx(plain, rel=tolerance)
    assert any("come from the trunk cache" in message for message in caplog.messages)


@contextmanager
def limit_of_the_allocator(n_bytes: int) -> Iterator[None]:
    """PyTorch itself refuses more than so many bytes."""
    torch.cuda.set_per_process_memory_fraction(n_bytes / torch.cuda.get_device_properties(CUDA).total_memory)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def full_device(n_bytes: int) -> Iterator[None]:
    """The device has no more than so many bytes left, whoever asks."""
    free, _ = torch.cuda.mem_get_info(CUDA)
    taken = torch.empty(free - n_bytes, dtype=torch.uint8, device=CUDA)
    try:
        yield
    finally:
        del taken
        release_memory()


@pytest.mark.whole_device
@pytest.mark.parametrize("short", [limit_of_the_allocator, full_device])
def test_a_batch_that_does_not_fit_is_cut_until_it_does(
    short: Callable[[int], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.save_family(tmp_path / "model", "bert", hidden_size=256, intermediate_size=1024, num_labels=3)
    for split, n_rows in {"train": 512, "validation": 30, "test": 3}.items():
        tiny.write_csv(tmp_path / f"{split}.csv", tiny.make_examples(n_rows, seed=n_rows))
    prepared = prepare_pristine(tmp_path)
    reset_peak_memory()
    whole = losses(run(prepared, batch_size=256))
    enough = peak_memory()
    release_memory()
    assert not any("going on with" in message for message in caplog.messages)
    with caplog.at_level(logging.WARNING), short(enough * 6 // 10):
        healed = losses(run(prepared, batch_size=256))
    assert any("going on with" in message for message in caplog.messages)
    assert healed == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("params", [{}, {"frozen_layers": 2}, {"method": "lora", "lora_rank": 4}], ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_steps_as_graphs_have_the_losses_of_steps_by_themselves(
    case: TaskCase, params: dict[str, Any], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_case(tmp_path, case, CUDA, precision)
    params = {
        "dropout": 0.1,
        "epochs": 3,
        "label_smoothing": 0.1 if case.task == "text-classification" else 0.0,
    } | params
    recorded = []
    monkeypatch.setattr(CudaGraphs, "__call__", counted(CudaGraphs.__call__, recorded))
    options = {"cache": TrunkCache(tmp_path / "cache", 2**24)}
    as_graphs = losses(run(prepared, options, **params))
    assert recorded
    monkeypatch.setattr(trial_steps, "recorder", lambda *_: None)
    by_themselves = losses(run(prepared, options, **params))
    assert as_graphs == pytest.approx(by_themselves, rel=1e-4 if precision == "fp32" else 0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(4, 7), (4, 30, 96), (4, 3, 30, 30), (4, 2, 200, 200), (12, 30, 70)], ids=str)
@pytest.mark.parametrize("pads_left", [False, True])
def test_masks_are_those_of_the_cpu(shape: tuple[int, ...], dtype: torch.dtype, pads_left: bool) -> None:
    values = torch.randn(shape, dtype=dtype)
    dropped = []
    for device in (tiny.CPU, CUDA):
        masks = DropoutMasks(device)
        assert has_kernel(device) == (device.type == "cuda")
        masks.begin_step(2**62 + 12_345)
        n_tokens = shape[-2] if len(shape) > 2 else 30
        batch = Batch(
            inputs={"input_ids": torch.zeros(4, n_tokens, dtype=torch.int64, device=device)},
            targets=torch.zeros(4, device=device),
            rows_B=torch.tensor([5, 0, 2, 9], device=device),
            starts_B=torch.tensor([0, 3, 1, 29], device=device) if pads_left else None,
        )
        leaf = values.to(device, copy=True).requires_grad_()
        with masks.of(batch):
            found = masks.drop(leaf, 0.3, Site(masks, "a.site"))
        found.float().square().sum().backward()
        assert leaf.grad is not None
        dropped.append((found.detach().cpu(), leaf.grad.cpu()))
    assert all(torch.equal(*pair) for pair in zip(*dropped, strict=True))


def counted(function: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        result = function(*args)
        calls.append(result)
        return result

    return call


def test_a_step_that_reads_the_device_is_taken_by_itself(
    pristine: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare_pristine(pristine)
    whole = losses(run(prepared, dropout=0.1))

    def read(*args: Any, **options: Any) -> torch.Tensor:
        loss = add_gradients(*args, **options)
        float(loss)
        return loss

    monkeypatch.setattr(trial_steps, "add_gradients", read)
    assert losses(run(prepared, dropout=0.1)) == pytest.approx(whole, rel=1e-4)
    assert any("not recorded" in message for message in caplog.messages)
    monkeypatch.undo()
    assert losses(run(prepared, dropout=0.1)) == pytest.approx(whole, rel=1e-4)


def test_memory_that_graphs_take_is_given_back(pristine: Path) -> None:
    prepared = prepare_pristine(pristine)
    taken = []
    for _ in range(4):
        run(prepared)
        release_memory()
        taken.append(torch.cuda.memory_reserved())
    assert taken[3] <= taken[1]


@contextmanager
def waits_of_ours() -> Iterator[list[str]]:
    """Where code of the trainer waits for the device meanwhile; transformers does so for each batch that has a mask."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for warning in caught:
        if "called a synchronizing" in str(warning.message) and "/transformers/" not in warning.filename:
            found.append(f"{warning.filename}:{warning.lineno}")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_no_step_waits_for_the_device_and_a_best_model_does_once(
    case: TaskCase, tmp_path: Path, precision: str
) -> None:
    prepared = prepare_case(tmp_path, case, CUDA, precision)
    rows_B = np.arange(8)
    prepared.train.collate(rows_B, CUDA)
    model = prepared.pretrained.new_model(seed=0, number=0).to(CUDA).train()
    optimizer = make_optimizer(model, TrialConfig.from_params(PARAMS), {})
    with waits_of_ours() as waits:
        for _ in range(2):
            accumulate_gradients(
                model, prepared.task, prepared.train, rows_B, prepared.facts.precision, micro_batch_size=4
            )
            take_step(optimizer, 1.0)
            optimizer.zero_grad()
    assert waits == []
    with waits_of_ours() as waits:
        BestModel().keep(prepared.pretrained, model)
    assert len(waits) == len({parameter.dtype for parameter in model.parameters()})


def test_memory_that_no_device_has_is_healed(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare_pristine(pristine)
    whole = run(prepared, batch_size=16)
    pieces = []

    def short_of_memory(
        model: Any, task: Any, split: Any, rows_B: Any, *more: Any, micro_batch_size: int, **options: Any
    ) -> torch.Tensor:
        pieces.append(micro_batch_size)
        if micro_batch_size > 4:
            torch.empty(2**50, dtype=torch.uint8, device=CUDA)
        return accumulate_gradients(model, task, split, rows_B, *more, micro_batch_size=micro_batch_size, **options)

    monkeypatch.setattr(trial_steps, "accumulate_gradients", short_of_memory)
    monkeypatch.setattr(trial_steps, "recorder", lambda *_: None)
    healed = run(prepared, batch_size=16)
    assert pieces[:3] == [16, 8, 4]
    assert losses(healed) == pytest.approx(losses(whole), rel=1e-3)


def test_an_assert_on_the_device_is_a_device_error_and_dies_with_its_process(pristine: Path) -> None:
    command = [sys.executable, "-c", ASSERT_ON_THE_DEVICE]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # what it leaves may abort its exit
    assert told.stdout.strip() == "device_error"
    assert run(prepare_pristine(pristine))
