"""The training loop: what it yields, when it stops, and what it leaves alone."""

import gc
import math
import weakref
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from tests.trainer.conftest import Prepare
from trainer.data.subset import subset_rows
from trainer.errors import ConfigError, Diverged
from trainer.model.best_model import BestModel
from trainer.train import fine_tune as module
from trainer.train import trial_steps
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared
from trainer.train.stopwatch import Stopwatch
from trainer.trial.config import TrialConfig


def run(
    prepared: Prepared, *, seed: int = 0, number: int = 0, best: BestModel | None = None, **params: Any
) -> Generator[Evaluation, None, None]:
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2} | params)
    return fine_tune(prepared, config, seed=seed, number=number, best=best or BestModel())


class Script:
    """Answers evaluations with given losses, and notes the weights that they are of."""

    def __init__(self, losses: list[float]) -> None:
        self._losses = iter(losses)
        self.weights: list[dict[str, torch.Tensor]] = []

    def __call__(self, model: PreTrainedModel, *_: object, **_options: object) -> dict[str, float]:
        self.weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        model.eval()
        loss = next(self._losses)
        return {"loss": loss, "accuracy": 1 - loss, "f1_macro": 0.5, "matthews": 0.0}


def play(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> Script:
    script = Script(losses)
    monkeypatch.setattr(module, "evaluate", script)
    return script


def test_evaluations_say_where_the_trial_is(prepare_study: Prepare) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 4})
    evaluations = list(run(prepared, batch_size=10))
    assert [e.step for e in evaluations] == list(range(1, 9))
    assert [e.optimizer_steps for e in evaluations] == [2, 5, 8, 10, 12, 15, 18, 20]
    assert [e.epoch for e in evaluations] == [0.2, 0.5, 0.8, 1.0, 1.2, 1.5, 1.8, 2.0]
    assert [e.final for e in evaluations] == [False] * 7 + [True]
    for evaluation in evaluations:
        assert evaluation.metrics.keys() == {
            "validation_loss",
            "train_loss",
            "accuracy",
            "f1_macro",
            "matthews",
        }
        assert all(map(math.isfinite, evaluation.metrics.values()))
        assert evaluation.value == evaluation.metrics["validation_loss"]


def test_the_value_is_the_objective(prepare_study: Prepare) -> None:
    evaluation = next(run(prepare_study(objective={"metric": "f1_macro"})))
    assert evaluation.value == evaluation.metrics["f1_macro"]


def test_it_learns(prepared: Prepared) -> None:
    first, *_, last = run(prepared, epochs=12, dropout=0.0, batch_size=4)
    assert last.metrics["accuracy"] > 0.8 > first.metrics["accuracy"]
    assert last.metrics["train_loss"] < 0.1 < first.metrics["train_loss"]


def test_train_loss_is_the_mean_over_the_steps_since_the_evaluation_before(prepare_study: Prepare) -> None:
    often = list(run(prepare_study(training={"evaluations_per_epoch": 6})))
    seldom = list(run(prepare_study()))
    each = [evaluation.metrics["train_loss"] for evaluation in often]
    assert [e.metrics["train_loss"] for e in seldom] == pytest.approx([sum(each[:6]) / 6, sum(each[6:]) / 6])
    assert [e.value for e in seldom] == [often[5].value, often[11].value]


def test_the_same_seed_gives_the_same_losses_to_the_last_bit(prepared: Prepared) -> None:
    first = list(run(prepared, seed=5, number=1))
    again = []
    for evaluation in run(prepared, seed=5, number=1):
        again.append(evaluation)
        torch.rand(17)  # what the caller draws in between changes nothing
    assert again == first


@pytest.mark.parametrize(("seed", "number"), [(5, 2), (6, 1)])
def test_another_number_or_seed_gives_other_losses(prepared: Prepared, seed: int, number: int) -> None:
    first = next(run(prepared, seed=5, number=1))
    assert next(run(prepared, seed=seed, number=number)).value != first.value


def test_trials_do_not_touch_each_other(prepared: Prepared) -> None:
    alone = list(run(prepared, number=1))
    interleaved = []
    for mine, _ in zip(run(prepared, number=1), run(prepared, number=2, dropout=0.4), strict=True):
        interleaved.append(mine)
    assert interleaved == alone


@pytest.mark.parametrize(
    ("params", "other"),
    [
        ({"dropout": 0.0}, {"dropout": 0.3}),
        ({"weight_decay": 0.0}, {"weight_decay": 5.0}),
        ({"lr_schedule": "linear"}, {"lr_schedule": "cosine"}),
        ({"warmup_ratio": 0.0}, {"warmup_ratio": 0.5}),
        ({"batch_size": 16}, {"batch_size": 8}),
        ({"learning_rate": 1e-3}, {"learning_rate": 2e-3}),
        ({"frozen_layers": 0}, {"frozen_layers": 1}),
        ({"epochs": 2}, {"epochs": 4}),
    ],
)
def test_every_hyperparameter_reaches_the_result(
    prepared: Prepared, params: dict[str, Any], other: dict[str, Any]
) -> None:
    assert [e.value for e in run(prepared, **params)] != [e.value for e in run(prepared, **other)][:2]


def test_dropout_left_out_is_the_checkpoints_own(prepared: Prepared) -> None:
    assert prepared.facts.checkpoint_dropout == 0.1
    assert list(run(prepared)) == list(run(prepared, dropout=0.1))


@pytest.mark.parametrize("frozen_layers", [0, 1, 3])
def test_frozen_weights_keep_every_bit_and_all_others_move(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, frozen_layers: int
) -> None:
    script = play(monkeypatch, [0.5, 0.4])
    list(run(prepared, frozen_layers=frozen_layers))
    start = prepared.pretrained.new_model(seed=0, number=0).state_dict()
    kept = {name for name, tensor in script.weights[-1].items() if torch.equal(tensor, start[name])}
    frozen = tuple(["bert.embeddings."] + [f"bert.encoder.layer.{i}." for i in range(frozen_layers)])
    # No gradient ever reaches a key's bias: adding it shifts all scores of a query alike
    expected = {name for name in start if frozen_layers and name.startswith(frozen)}
    assert kept - expected <= {name for name in start if name.endswith("key.bias")}
    assert expected <= kept


@pytest.mark.parametrize(
    ("losses", "steps", "best_step"),
    [
        ([0.5, 0.4, 0.3, 0.2, 0.1], 5, 5),
        ([0.5, 0.6, 0.7, 0.1, 0.0], 3, 1),
        ([0.5, 0.6, 0.4, 0.4, 0.4], 5, 3),  # an equal value is not a better one, and the earlier is kept
        ([0.5, 0.5, 0.5, 0.1, 0.0], 3, 1),
    ],
)
def test_early_stopping_ends_on_patience_and_the_best_is_kept(
    prepare_study: Prepare,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    losses: list[float],
    steps: int,
    best_step: int,
) -> None:
    prepared = prepare_study(training={"early_stopping_patience": 2})
    script = play(monkeypatch, losses)
    best = BestModel()
    evaluations = list(run(prepared, epochs=5, best=best))
    assert [e.final for e in evaluations] == [False] * (steps - 1) + [True]
    best.save(tmp_path / "best")
    saved = type(prepared.pretrained.model).from_pretrained(tmp_path / "best").state_dict()
    matching = [all(torch.equal(saved[name], tensor) for name, tensor in weights.items()) for weights in script.weights]
    assert matching == [step == best_step for step in range(1, steps + 1)]


def test_a_metric_to_maximize_is_best_when_largest(prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare_study(objective={"metric": "accuracy"}, training={"early_stopping_patience": 1})
    play(monkeypatch, [0.5, 0.4, 0.45, 0.1])
    assert [e.value for e in run(prepared, epochs=4)] == [0.5, 0.6, 0.55]


def test_without_patience_a_trial_runs_to_its_end(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert len(list(run(prepared, epochs=6))) == 6


def test_a_training_loss_that_is_not_finite_ends_the_trial(prepared: Prepared) -> None:
    broken = prepared.pretrained.new_model(seed=0, number=0)
    nn.init.constant_(broken.classifier.bias, math.nan)
    pretrained = replace(prepared.pretrained, model=broken, missing=frozenset())
    with pytest.raises(Diverged, match="the training loss is nan; lower learning_rate"):
        next(run(replace(prepared, pretrained=pretrained)))


def test_a_long_epoch_notices_a_training_loss_early(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def diverge(*_args: object, **_options: object) -> torch.Tensor:
        seen.append(len(seen))
        return torch.tensor(math.inf)

    monkeypatch.setattr(trial_steps, "accumulate_gradients", diverge)
    with pytest.raises(Diverged, match="the training loss is inf"):
        next(run(prepared, batch_size=1))
    assert len(seen) == 50


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_ends_the_trial(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    play(monkeypatch, [0.5, loss])
    trial = run(prepared)
    assert next(trial).value == 0.5
    with pytest.raises(Diverged, match=f"the validation loss is {loss}"):
        next(trial)


def test_closing_frees_the_memory_at_once(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []

    def watch(model: PreTrainedModel, *_: object, **_options: object) -> dict[str, float]:
        held.extend(weakref.ref(thing) for thing in (model, *model.parameters()))
        held.extend(weakref.ref(p.grad) for p in model.parameters() if p.grad is not None)
        return {"loss": 0.5, "accuracy": 1.0, "f1_macro": 1.0, "matthews": 1.0}

    monkeypatch.setattr(module, "evaluate", watch)
    trial = run(prepared, frozen_layers=1)
    next(trial)
    gc.collect()
    gc.disable()
    try:
        trial.close()
        assert len(held) > 30
        assert [thing() for thing in held] == [None] * len(held)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"frozen_layers": 4}, "frozen_layers = 4: the model has 3 blocks"),
        ({"batch_size": 64}, "evaluations_per_epoch = 3: an epoch has 2 optimizer steps at batch_size = 64"),
    ],
)
def test_what_does_not_fit_the_study_is_refused(prepare_study: Prepare, params: dict[str, Any], message: str) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 3})
    with pytest.raises(ConfigError, match=message):
        next(run(prepared, **params))


@pytest.mark.parametrize(("evaluate_at", "per_epoch"), [(None, 2 * 5.0), ([1], 0.0)])
def test_evaluations_count_in_the_speed_unless_later_ones_may_be_left_out(
    prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch, evaluate_at: list[int] | None, per_epoch: float
) -> None:
    """By a clock that moves while the model is evaluated, 5 seconds each time."""
    prepared, seconds = prepare_study(training={"evaluations_per_epoch": 2}), [0.0]

    def evaluate(model: PreTrainedModel, *_: object, **_options: object) -> dict[str, float]:
        seconds[0] += 5.0
        return {"loss": 0.5, "accuracy": 1.0, "f1_macro": 1.0, "matthews": 1.0}

    monkeypatch.setattr(module, "evaluate", evaluate)
    monkeypatch.setattr(module, "Stopwatch", lambda: Stopwatch(lambda: seconds[0]))
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 1})
    first = next(fine_tune(prepared, config, seed=0, number=0, best=BestModel(), evaluate_at=evaluate_at))
    assert first.speed is not None
    assert first.speed.seconds_per_epoch == pytest.approx(per_epoch, rel=0.5)


def test_evaluations_of_a_part_read_the_same_rows_in_every_trial_and_change_nothing_else(
    prepare_study: Prepare,
) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 2, "early_stopping_patience": None})
    params = {"learning_rate": 1e-12, "epochs": 2, "dropout": 0.0, "batch_size": 10}  # which all but trains nothing

    def trial(number: int, partial_at: dict[int, float]) -> list[Evaluation]:
        config = TrialConfig.from_params(params)
        return list(fine_tune(prepared, config, seed=3, number=number, best=BestModel(), partial_at=partial_at))

    every, some = trial(0, {}), trial(0, {1: 0.25, 2: 0.5})
    assert [one.partial for one in some] == [True, True, False, False]
    assert [one.metrics["train_loss"] for one in some] == [one.metrics["train_loss"] for one in every]
    assert some[2:] == every[2:]
    part = prepared.validation.take(subset_rows(prepared.validation, 0.25, 3))
    assert 0 < len(part) < len(prepared.validation)
    alone = list(
        fine_tune(
            replace(prepared, validation=part),
            TrialConfig.from_params(params),
            seed=3,
            number=0,
            best=BestModel(),
        )
    )
    assert some[0].value == alone[0].value != every[0].value


def test_an_evaluation_of_a_part_is_neither_the_best_nor_the_last(
    prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 1, "early_stopping_patience": 2})
    script = play(monkeypatch, [0.5, 0.1, 0.6, 0.4])
    config, best = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 4}), BestModel()
    trial = list(fine_tune(prepared, config, seed=0, number=0, best=best, partial_at={2: 0.5, 3: 0.5}))
    # no better one for two steps at the third, which has no say; the fourth is the best of those that have
    assert [one.final for one in trial] == [False, False, False, True]
    assert all(torch.equal(script.weights[3][name], tensor) for name, tensor in best.state_dict().items())
