"""`benchmarks/time_to_target.py` says when each of two searches was as good as the worse of them at its end."""

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("time_to_target")


def test_a_curve_holds_what_was_better_than_all_before_it(benchmark: Any) -> None:
    assert benchmark.improvements([(3.0, 0.7), (1.0, 0.9), (2.0, 0.95), (4.0, 0.7)]) == [(1.0, 0.9), (3.0, 0.7)]


def test_a_target_is_reached_with_the_first_loss_that_is_no_worse(benchmark: Any) -> None:
    curve = [(1.0, 0.9), (3.0, 0.7), (8.0, 0.2)]
    assert benchmark.seconds_until(curve, 0.7) == 3.0
    assert benchmark.seconds_until(curve, 0.5) == 8.0


def test_docstrings_come_with_their_subpackage_and_without_tests(benchmark: Any) -> None:
    rows = list(benchmark.docstrings("torch", ("onnx", "fx")))
    assert {label for _, label in rows} == {"onnx", "fx"}
    assert all(len(text.split()) >= 5 and len(text) <= 200 for text, _ in rows)


def test_our_study_is_the_one_that_init_proposes(benchmark: Any, tmp_path: Path) -> None:
    rows = [("a row of words", "yes"), ("another row of words", "no")] * 8
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    options = type("Options", (), {"trials": 20, "precision": "fp32"})
    spec = benchmark.make_spec(tmp_path, tmp_path, options, 3)
    assert (spec.preset, spec.pruner.name, spec.n_trials, spec.seed) == ("small-encoder-small-data", "median", 20, 3)
