"""What a few timed steps say of trials, and that they change none."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.conftest import Prepare
from trainer.data.batches import trial_batches
from trainer.data.tokenised_split import Split
from trainer.model.best_model import BestModel
from trainer.train import time_steps as module
from trainer.train.begin_trial import BegunTrial
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared
from trainer.train.time_steps import TimedStep, epoch_tokens, fit, time_steps
from trainer.trial.config import TrialConfig
from trainer.trial.seeds import derive_seed
from trainer.trunk.cache import TrunkCache
from trainer.trunk.trunk import FedSplit

SPACE: dict[str, Any] = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": {"type": "categorical", "choices": [16, 4, 8]},
    "frozen_layers": {"type": "int", "low": 0, "high": 2},
}


def slow_clock() -> float:
    """A clock by which the time is not over before the last kind, however busy the machine is."""
    return perf_counter() / 1000


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on so far between two looks."""
    ticks = count()
    return lambda: next(ticks) * seconds


def losses(prepared: Prepared, cache: TrunkCache) -> list[float]:
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 1, "dropout": 0.2, "frozen_layers": 2})
    trial = fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache)
    return [evaluation.value for evaluation in trial]


def test_each_kind_is_timed_at_its_smallest_and_its_largest_batch(prepare_study: Prepare) -> None:
    prepared = prepare_study(search_space=SPACE)
    times = time_steps(prepared, uses_cache=True, clock=slow_clock)
    assert [(kind.frozen_blocks, kind.batch_size) for kind in times.kinds] == [(0, 4), (0, 16), (2, 4), (2, 16)]
    assert all(kind.epoch_seconds and kind.evaluation_seconds > 0 for kind in times.kinds)
    assert times.load_seconds > 0
    assert times.peak_memory_bytes > 1e7


def test_filling_the_cache_takes_as_long_a_token_as_it_took_for_the_few_rows_that_were_timed(
    prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, filled = [0.0], list[int]()

    def evaluate(model: object, task: object, split: Split, precision: str) -> None:
        seconds[0] += int(split.lengths_N.sum()) * (1e-6 if isinstance(split, FedSplit) else 4e-6)

    def begin(prepared: Prepared, config: TrialConfig, **options: Any) -> BegunTrial:
        begun = real(prepared, config, **options)
        fed = [split for split in (begun.prepared.train, begun.prepared.validation) if isinstance(split, FedSplit)]
        filled.extend(map(len, fed))
        fed = [
            replace(split, entry=replace(split.entry, seconds_per_row=3e-6 * split.lengths_N.mean())) for split in fed
        ]
        return replace(begun, prepared=replace(begun.prepared, train=fed[0], validation=fed[1])) if fed else begun

    real = module.begin_trial
    monkeypatch.setattr(module, "begin_trial", begin)
    monkeypatch.setattr(module, "evaluate", evaluate)
    prepared = prepare_study(search_space=SPACE)
    times = time_steps(prepared, uses_cache=True, clock=lambda: seconds[0])
    n_train, n_validation = (int(split.lengths_N.sum()) for split in (prepared.train, prepared.validation))
    plain, _, _, cached = times.kinds
    assert (plain.evaluation_seconds, plain.fill_seconds) == pytest.approx((4e-6 * n_validation, 0.0))
    assert cached.evaluation_seconds == pytest.approx(1e-6 * n_validation)
    assert cached.fill_seconds == pytest.approx(3e-6 * (n_train + n_validation))
    # one batch of each size is computed, though three are timed
    assert filled[0] <= 4 + 16


def test_kinds_that_freeze_the_same_blocks_say_all_what_filling_takes(prepare_study: Prepare) -> None:
    lora = {"method": {"type": "categorical", "choices": ["full", "lora"]}}
    times = time_steps(prepare_study(search_space=SPACE | lora), uses_cache=True, clock=slow_clock)
    assert [kind.fill_seconds > 0 for kind in times.kinds] == [kind.frozen_blocks > 0 for kind in times.kinds]
    assert [kind.method for kind in times.kinds if kind.frozen_blocks] == ["full", "full", "lora", "lora"]


def test_steps_are_timed_however_long_the_frozen_blocks_take(
    prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, n_timed = [0.0], list[int]()

    def begin(prepared: Prepared, config: TrialConfig, **options: Any) -> BegunTrial:
        seconds[0] += 100.0 if config.frozen_layers else 0.0
        return real(prepared, config, **options)

    real = module.begin_trial
    monkeypatch.setattr(module, "begin_trial", begin)
    monkeypatch.setattr(module, "fit", lambda steps: (0.0, 1.0 if n_timed.append(len(steps)) else 2.0))
    time_steps(prepare_study(search_space=SPACE), uses_cache=True, clock=lambda: seconds[0])
    assert n_timed == [6, 6]


def test_what_a_pause_takes_is_timed_where_trials_pause(prepare_study: Prepare) -> None:
    prepared = prepare_study(search_space=SPACE, pruner={"name": "rungs"})
    times = time_steps(prepared, uses_cache=False, clock=slow_clock)
    assert all(0 < kind.pause_seconds < 10 for kind in times.kinds)
    plain = time_steps(prepare_study(search_space=SPACE), uses_cache=False, clock=ticking(10.0))
    assert {kind.pause_seconds for kind in plain.kinds} == {0.0}


def test_trials_are_the_same_after_timing_and_the_cache_is_as_it_was(prepare_study: Prepare, tmp_path: Path) -> None:
    prepared = prepare_study(search_space=SPACE)
    before = losses(prepared, TrunkCache(tmp_path / "first", 2**24))
    weights = [parameter.clone() for parameter in prepared.pretrained.model.parameters()]
    time_steps(prepared, uses_cache=True, clock=slow_clock)
    assert all(torch.equal(*pair) for pair in zip(weights, prepared.pretrained.model.parameters(), strict=True))
    assert losses(prepared, TrunkCache(tmp_path / "second", 2**24)) == before
    assert prepared.facts.step_times is None


def test_what_does_not_fit_is_a_finding_and_no_failure(prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.begin_trial

    def begin(prepared: Prepared, config: TrialConfig, **options: Any) -> Any:
        if config.frozen_layers == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(prepared, config, **options)

    monkeypatch.setattr(module, "begin_trial", begin)
    times = time_steps(prepare_study(search_space=SPACE), uses_cache=False, clock=slow_clock)
    assert [kind.epoch_seconds is None for kind in times.kinds] == [True, True, False, False]


def test_where_steps_are_slow_one_is_timed_of_the_kind_that_takes_longest(prepare_study: Prepare) -> None:
    times = time_steps(prepare_study(search_space=SPACE), uses_cache=False, clock=ticking(10.0))
    small, large = times.kinds
    assert (small.frozen_blocks, large.frozen_blocks) == (0, 0)
    assert (small.fill_seconds, large.fill_seconds) == (0.0, 0.0)
    # the one step took 10 s, and an epoch as much more as it has more tokens
    assert small.epoch_seconds is not None
    assert small.epoch_seconds / 10 == pytest.approx(96 / 4, rel=0.5)


def test_the_line_through_steps_is_found_and_never_falls() -> None:
    assert fit([TimedStep(tokens, 2.0 + 0.5 * tokens) for tokens in (4, 8, 16)]) == pytest.approx((2.0, 0.5))
    assert fit([TimedStep(4, 8.0)]) == (0.0, 2.0)
    assert fit([TimedStep(4, 3.0), TimedStep(8, 1.0)]) == (2.0, 0.0)  # noise: larger and yet faster
    assert fit([TimedStep(4, 1.0), TimedStep(8, 5.0)]) == (0.0, 0.5)  # a line that would begin below 0


@pytest.mark.parametrize(("batch_size", "most_rows"), [(4, 100), (16, 100), (16, 5)])
def test_padded_tokens_are_those_of_an_epoch(batch_size: int, most_rows: int) -> None:
    lengths_N = np.random.default_rng(0).integers(1, 40, size=203)
    expected = 0
    for rows_B in trial_batches(lengths_N, batch_size=batch_size, epochs=1, seed=7, number=0):
        for start in range(0, len(rows_B), most_rows):
            piece = lengths_N[rows_B[start : start + most_rows]]
            expected += len(piece) * int(piece.max())
    assert epoch_tokens(lengths_N, batch_size, most_rows, derive_seed("batches", 7, 0, 0)) == expected
