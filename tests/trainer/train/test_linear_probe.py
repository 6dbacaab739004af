"""How close a task is to what the checkpoint knows: the probe, and what it suggests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from transformers import PreTrainedModel

from spezia.contract.facts import Similarity
from tests.trainer import tiny
from tests.trainer.conftest import Prepare
from tests.trainer.short_memory import fail_once
from tests.trainer.task_cases import CASES, TaskCase
from trainer.data.subset import subset_rows
from trainer.data.tokenised_split import TokenisedSplit
from trainer.train import linear_probe as module
from trainer.train.linear_probe import judge, measure_similarity, run_linear_probe
from trainer.train.prepare import Prepared, prepare

_ACCURACY = {"probe_accuracy", "majority_accuracy", "skill"}
METRICS = {
    "text-classification": _ACCURACY,
    "text-regression": {"probe_r2", "skill"},
    "token-classification": _ACCURACY,
    "image-classification": _ACCURACY,
    "causal-lm": {"validation_loss"},
}


def measure(prepared: Prepared) -> Similarity | None:
    model = prepared.pretrained.new_model(seed=0, number=0)
    return run_linear_probe(model, prepared.task, prepared.train, prepared.validation, "fp32", seed=0)


def features(prepared: Prepared) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean hidden states of training and validation rows, one row after the other."""
    model = prepared.pretrained.new_model(seed=0, number=0).eval()

    def of_rows(split: Any) -> np.ndarray[Any, Any]:
        rows = [torch.from_numpy(split.row(row).astype(np.int64))[None] for row in range(len(split))]
        with torch.no_grad():
            return np.stack([model.bert(input_ids=ids).last_hidden_state[0].mean(dim=0).numpy() for ids in rows])

    return of_rows(prepared.train), of_rows(prepared.validation)


def relabelled(prepared: Prepared, train: Any, validation: Any) -> Prepared:
    assert isinstance(prepared.train, TokenisedSplit)
    assert isinstance(prepared.validation, TokenisedSplit)
    return replace(
        prepared,
        train=replace(prepared.train, targets=np.asarray(train)),
        validation=replace(prepared.validation, targets=np.asarray(validation)),
    )


def test_the_probe_is_logistic_regression_on_mean_hidden_states(prepared: Prepared) -> None:
    train, validation = features(prepared)
    scaler = StandardScaler().fit(train)
    probe = LogisticRegression(max_iter=200).fit(scaler.transform(train), prepared.train.targets)
    accuracy = probe.score(scaler.transform(validation), prepared.validation.targets)
    found = measure(prepared)
    assert found is not None
    assert found.metrics["probe_accuracy"] == pytest.approx(accuracy)
    assert found.metrics["majority_accuracy"] == pytest.approx(1 / 3)
    assert found.metrics["skill"] == pytest.approx((accuracy - 1 / 3) / (2 / 3))


def test_the_probe_makes_do_with_what_memory_there_is(prepared: Prepared) -> None:
    model = prepared.pretrained.new_model(seed=0, number=0)
    small_device = tiny.SmallDevice(model, rows=8)
    found = run_linear_probe(model, prepared.task, prepared.train, prepared.validation, "fp32", seed=0)
    assert small_device.n_refused > 0
    assert found == measure(prepared)


def test_what_hidden_states_show_suggests_freezing_and_what_they_hide_does_not(prepared: Prepared) -> None:
    train, validation = features(prepared)
    axis = np.linalg.svd(train - train.mean(axis=0))[2][0]
    labels, new_labels = (((split - train.mean(axis=0)) @ axis > 0).astype(int) for split in (train, validation))
    shown = measure(relabelled(prepared, labels, new_labels))
    dice = np.random.default_rng(0)
    hidden = measure(relabelled(prepared, dice.integers(0, 2, len(train)), dice.integers(0, 2, len(validation))))
    assert shown is not None
    assert hidden is not None
    assert shown.metrics["skill"] > 0.75 > 0.4 > hidden.metrics["skill"]
    assert (shown.suggestion, hidden.suggestion) == ("similar-task", "different-task")
    assert "preset similar-task" in shown.why


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_task_has_a_measure(case: TaskCase, tmp_path: Path) -> None:
    case.write(tmp_path)
    found = measure_similarity(prepare(tiny.make_spec(**case.spec()), roots=[tmp_path], device=tiny.CPU))
    assert found is not None
    assert found.why
    assert set(found.metrics) == METRICS[case.task] or set(found.metrics) == {"probe_f1_micro", "skill"}


def test_between_the_two_nothing_is_suggested() -> None:
    found = judge({"probe_accuracy": 0.7, "skill": 0.6})
    assert found.suggestion is None
    assert "60%" in found.why


def test_targets_that_are_all_alike_tell_nothing(prepared: Prepared) -> None:
    labels = [0] * len(prepared.train), [0] * len(prepared.validation)
    assert measure(relabelled(prepared, *labels)) is None


def test_large_models_and_long_splits_are_probed_on_fewer_rows(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def watched(split: Any, fraction: float, seed: int) -> list[int]:
        rows = subset_rows(split, fraction, seed)
        sizes.append(len(rows))
        return rows

    monkeypatch.setattr(module, "subset_rows", watched)
    n_tokens = int(prepared.train.lengths_N.sum())
    n_parameters = prepared.pretrained.model.num_parameters()
    monkeypatch.setitem(module.PARAMETER_TOKENS, "cpu", n_parameters * n_tokens * 0.75)
    assert measure(prepared) is not None
    assert sizes == [pytest.approx(24, abs=4), pytest.approx(48, abs=4)]


def test_it_frees_memory_for_its_model(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = measure_similarity(prepared)
    failed = fail_once(monkeypatch, PreTrainedModel, "to")
    assert measure_similarity(prepared) == expected
    assert failed


@pytest.mark.parametrize(
    ("is_fast", "problem", "task", "precision"),
    [
        (True, None, "text-classification", "bf16"),
        (False, None, "text-classification", "fp32"),
        (True, "it masks by another number", "text-classification", "fp32"),
        (True, None, "causal-lm", "fp32"),  # a loss is said, and no class
    ],
)
def test_features_are_computed_in_bf16_where_that_is_fast_and_possible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_fast: bool, problem: str | None, task: str, precision: str
) -> None:
    used: list[str] = []
    monkeypatch.setattr(module, "computes_in_bf16", lambda device: is_fast)
    monkeypatch.setattr(module, "bf16_problem", lambda model, split: problem)
    monkeypatch.setattr(module, "run_linear_probe", lambda *args, **options: used.append(args[4]))
    case = next(case for case in CASES if case.task == task)
    case.write(tmp_path)
    measure_similarity(prepare(tiny.make_spec(**case.spec()), roots=[tmp_path], device=tiny.CPU))
    assert used == [precision]


def test_a_study_may_do_without(prepare_study: Prepare) -> None:
    assert prepare_study().facts.awaits_similarity
    assert not prepare_study(training={"similarity": False}).facts.awaits_similarity


def test_to_prepare_a_study_measures_nothing(prepare_study: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("measured while trials wait")

    monkeypatch.setattr(module, "run_linear_probe", refuse)
    assert prepare_study().facts.similarity is None
