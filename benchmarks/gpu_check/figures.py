"""A part for each shape: how fast trials of a model of this shape train here, and what that takes.

    python figures.py SHAPE

Rows are random words, all of one length, so that no figure depends on padding. Two trials run: the first one is timed,
the second one looked into, since looking costs time.
"""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from findings import Tell, take_stdout
from peaks import matmul_tflops, wait_for
from random_models import SHAPES, SMALL, Shape, save_random, words_of
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from spezia.contract.study_spec import StudySpec
from trainer.model.best_model import BestModel
from trainer.model.device import choose_device
from trainer.model.device_memory import peak_memory, reset_peak_memory
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

N_PROFILED = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main(name: str) -> None:
    tell = take_stdout()
    device = choose_device()
    shape = (SHAPES if device.type == "cuda" else SMALL)[name]
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_study(Path(folder), shape, device)
    precision = prepared.facts.precision
    tell(
        {
            "is_small": device.type != "cuda",
            "parameters": prepared.facts.parameters,
            "precision": precision,
            "batch_size": shape.batch_size,
            "tokens_per_row": shape.tokens,
            "method": shape.params["method"],
        }
    )
    step_seconds = time_trial(prepared, shape, tell)
    ended_at = time.perf_counter()
    tera_operations = look_into_trial(prepared, shape, ended_at, tell)
    peak = matmul_tflops(device, DTYPES[precision])
    tell(
        {
            "tflop_per_step": round(tera_operations, 6),
            "matmul_tflops": peak,
            "share_of_matmul_peak": round(tera_operations / step_seconds / peak, 4),
        }
    )


def prepare_study(folder: Path, shape: Shape, device: torch.device) -> Prepared:
    words = words_of(shape)
    save_random(folder / "model", shape, words)
    draw = random.Random(0)
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    for split, n_batches in {"train": shape.n_steps, "validation": 2}.items():
        texts = [" ".join(draw.choices(words, k=shape.tokens - 2)) for _ in range(n_batches * shape.batch_size)]
        rows = [{"text": text, "label": "ab"[row % 2]} for row, text in enumerate(texts)]
        (folder / files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    body: dict[str, Any] = {
        "task": shape.task,
        "model": {"name": "model"},
        "data": files | {"max_length": shape.tokens},
        "search_space": {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True}},
        "training": {"similarity": False},
    }
    return prepare(StudySpec.model_validate(body), roots=[folder], device=device)


def time_trial(prepared: Prepared, shape: Shape, tell: Tell) -> float:
    """Tell speed and memory of a trial; return the seconds of a step."""
    # the first sixth of the steps, in which kernels are chosen and memory is found, does not count
    first, last = shape.n_steps // 6, shape.n_steps
    at: dict[int, float] = {}

    def note(step: int) -> None:
        wait_for(prepared.device)
        at[step] = time.perf_counter()

    reset_peak_memory()
    run_trial(prepared, shape, 0, {first: lambda: note(first), last: lambda: note(last)})
    seconds = (at[last] - at[first]) / (last - first)
    tell(
        {
            "step_seconds": round(seconds, 6),
            "tokens_per_second": round(shape.batch_size * shape.tokens / seconds),
            "peak_memory_bytes": peak_memory() or None,
        }
    )
    return seconds


def look_into_trial(prepared: Prepared, shape: Shape, earlier_ended_at: float, tell: Tell) -> float:
    """Tell how soon a trial follows the one before and what a step asks of the device; return 10^12 operations of a
    step's matrix products."""
    counter = FlopCounterMode(display=False)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if prepared.device.type == "cuda" else [])]
    profiler = profile(activities=activities)

    def note_start() -> None:
        wait_for(prepared.device)
        tell({"seconds_between_trials": round(time.perf_counter() - earlier_ended_at, 3)})

    def stop_counting() -> None:
        counter.__exit__(None, None, None)

    def stop_profiling() -> None:
        profiler.stop()
        # cudaLaunchKernel, cuLaunchKernelEx and so on, and not the kernels, of which some begin with cutlass
        calls = {
            row.key: row.count / N_PROFILED for row in profiler.key_averages() if re.match(r"cu(da)?[A-Z]", row.key)
        }
        launches = [n_calls for name, n_calls in calls.items() if "LaunchKernel" in name]
        tell({"kernel_launches_per_step": round(sum(launches), 1) or None, "cuda_calls_per_step": rounded(calls)})

    # between two of these steps lies one whole step of the trial
    marks = {
        1: note_start,
        4: counter.__enter__,
        5: stop_counting,
        8: profiler.start,
        8 + N_PROFILED: stop_profiling,
    }
    run_trial(prepared, shape, 1, marks)
    return counter.get_total_flops() / 1e12


def rounded(calls: Mapping[str, float]) -> dict[str, float]:
    return {name: round(n_calls, 1) for name, n_calls in sorted(calls.items())}


def run_trial(prepared: Prepared, shape: Shape, number: int, marks: Mapping[int, Callable[[], Any]]) -> None:
    """Run a trial of one epoch, and call each of ``marks`` after the optimizer step that it stands for."""
    n_steps = 0

    def after_step(*_: Any) -> None:
        nonlocal n_steps
        n_steps += 1
        if n_steps in marks:
            marks[n_steps]()

    config = TrialConfig.from_params(
        {"learning_rate": 1e-5, "epochs": 1, "batch_size": shape.batch_size} | shape.params
    )
    handle = register_optimizer_step_post_hook(after_step)
    try:
        for _ in fine_tune(prepared, config, seed=0, number=number, best=BestModel()):
            pass
    finally:
        handle.remove()
    assert n_steps == shape.n_steps


if __name__ == "__main__":
    main(sys.argv[1])
