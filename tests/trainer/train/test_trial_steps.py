"""A trial's steps are the same as graphs and by themselves; here a graph is played by a call with the same tensors."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.conftest import Prepare
from tests.trainer.written_rows import PROMPTED, PROMPTS, PrepareRows
from trainer.model.best_model import BestModel
from trainer.train import trial_steps
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared
from trainer.train.step_graphs import MAX_GRAPHS, Inputs, Step, StepGraphs, register_replay_post_hook
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

SHORT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class Recorder:
    """Records steps as a CUDA graph does: a replay knows only the tensors that the step was recorded with."""

    def __init__(self) -> None:
        self.shapes: list[tuple[torch.Size, ...]] = []
        self.n_replays = 0
        self.error: Exception | None = None

    def __call__(self, step: Step, inputs: Inputs) -> "Replayed":
        if self.error is not None:
            raise self.error
        self.shapes.append(tuple(tensor.shape for tensor in inputs.values()))
        return Replayed(self, step, {name: torch.zeros_like(tensor) for name, tensor in inputs.items()})


class Replayed:
    def __init__(self, recorder: Recorder, step: Step, placed: Inputs) -> None:
        self._recorder, self._step, self._placed = recorder, step, placed

    def replay(self, inputs: Inputs) -> torch.Tensor:
        self._recorder.n_replays += 1
        for name, tensor in inputs.items():
            self._placed[name].copy_(tensor)
            if tensor.is_floating_point():
                tensor.fill_(math.nan)  # a replay reads nothing but what it was recorded with
        return self._step(self._placed)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(trial_steps, "recorder", lambda *_: recorder)
    return recorder


def losses(prepared: Prepared, cache: TrunkCache | None = None, **params: Any) -> list[float]:
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2, "batch_size": 8} | params)
    evaluations = fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache)
    return [value for one in evaluations for value in (one.value, one.metrics["train_loss"])]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"label_smoothing": 0.1, "weight_decay": 0.1, "layer_lr_decay": 0.8},
        {"frozen_layers": 2},
        {"unfreeze": "gradual"},
        {"method": "lora", "lora_rank": 2},
    ],
    ids=str,
)
def test_recorded_steps_have_the_losses_of_steps_by_themselves(
    prepare_study: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    prepared = prepare_study(training={"class_weights": "balanced"})
    cache = TrunkCache(tmp_path, 2**24)
    by_themselves = losses(prepared, cache, **params)
    recorder = Recorder()
    monkeypatch.setattr(trial_steps, "recorder", lambda *_: recorder)
    assert losses(prepared, cache, **params) == pytest.approx(by_themselves, rel=1e-6)
    assert recorder.n_replays


def test_recorded_steps_of_a_language_model_predict_the_tokens_of_their_own_batch(
    prepare_rows: PrepareRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*PROMPTS, *({"prompt": "word9 word9", "completion": f"word{n}"} for n in range(6))]
    prepared = prepare_rows("causal-lm", rows, PROMPTS, **PROMPTED)
    by_themselves = losses(prepared, batch_size=2)
    recorder = Recorder()
    monkeypatch.setattr(trial_steps, "recorder", lambda *_: recorder)
    assert losses(prepared, batch_size=2) == pytest.approx(by_themselves, rel=1e-6)
    assert recorder.n_replays


def test_a_shape_is_recorded_when_it_comes_again(recorder: Recorder) -> None:
    graphs = StepGraphs(recorder)
    taken = [graphs.run(lambda inputs: inputs["x"].sum(), {"x": torch.ones(n)}).item() for n in (2, 3, 2, 2, 3)]
    assert taken == [2, 3, 2, 2, 3]
    assert recorder.shapes == [((2,),), ((3,),)]
    assert recorder.n_replays == 3


def test_a_replay_of_which_no_optimizer_tells_is_told_of_by_a_hook(recorder: Recorder) -> None:
    graphs = StepGraphs(recorder)
    told: list[int] = []
    with register_replay_post_hook(lambda: told.append(recorder.n_replays)):
        for _ in range(3):
            graphs.run(lambda inputs: inputs["x"].sum(), {"x": torch.ones(2)})
    assert told == [1, 2]


def test_a_step_that_draws_on_the_host_is_not_recorded(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    graphs = StepGraphs(recorder)

    def leaves_out_a_layer_at_times(inputs: Inputs) -> torch.Tensor:
        return inputs["x"].sum() if torch.rand([]) < 0.5 else inputs["x"].sum() * 2

    for n in (2, 2, 3, 3, 2):
        graphs.run(leaves_out_a_layer_at_times, {"x": torch.ones(n)})
    assert recorder.shapes == []
    (message,) = caplog.messages
    assert message.endswith("the model draws random numbers on the host")


def test_shapes_beyond_a_number_of_graphs_are_taken_by_themselves(recorder: Recorder) -> None:
    graphs = StepGraphs(recorder)
    sizes = [size for size in range(1, MAX_GRAPHS + 5) for _ in range(2)]
    taken = [graphs.run(lambda inputs: inputs["x"].sum(), {"x": torch.ones(size)}).item() for size in sizes]
    assert taken == sizes
    assert len(recorder.shapes) == graphs.n_recorded == MAX_GRAPHS


def test_what_cannot_be_recorded_is_taken_by_itself_from_then_on(
    prepared: Prepared, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    whole = losses(prepared)
    recorder.error = RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")
    with caplog.at_level(logging.WARNING):
        assert losses(prepared) == whole
    (message,) = caplog.messages
    assert message.endswith("not recorded as CUDA graphs: CUDA error: operation not permitted when stream is capturing")


def test_a_step_that_runs_out_of_memory_beside_graphs_is_taken_without_them(
    prepared: Prepared, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = losses(prepared)
    original: Callable[..., torch.Tensor] = trial_steps.add_gradients
    n_steps = len(recorder.shapes) + recorder.n_replays
    calls = []

    def fail_once(*args: Any, **options: Any) -> torch.Tensor:
        calls.append(args)
        if len(calls) == n_steps // 2:
            raise SHORT
        return original(*args, **options)

    monkeypatch.setattr(trial_steps, "add_gradients", fail_once)
    assert losses(prepared) == pytest.approx(whole, rel=1e-6)
    assert len(calls) == n_steps // 2  # the rest was taken without graphs


def test_graphs_are_forgotten_when_other_parameters_train(prepared: Prepared, recorder: Recorder) -> None:
    losses(prepared, epochs=6, unfreeze="gradual")
    assert len(set(recorder.shapes)) < len(recorder.shapes)
