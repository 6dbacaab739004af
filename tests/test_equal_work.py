"""`benchmarks/equal_work.py` says where time goes and whether work was equal, and a small form of it runs."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, BertConfig, BertModel

from trainer.model.model_source import resolve_model

ROOT = Path(__file__).parent.parent
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return lambda name: importlib.import_module(f"equal_work.{name}")


def trial(worker: str, number: int, began_at: float, first_step_at: float, ended_at: float, *reports: float) -> Any:
    """Return the times of a trial, which waits a tenth of a second for the answer to each report."""
    return {
        "worker": worker,
        "kind": "trial",
        "number": number,
        "began_at": began_at,
        "first_step_at": first_step_at,
        "reports": [(at, at + 0.1) for at in reports],
        "ended_at": ended_at,
    }


@pytest.fixture
def run() -> dict[str, Any]:
    return {
        "started_at": 100.0,
        "ended_at": 130.0,
        "workers": {"a": (101.0, 104.0), "b": (103.0, 105.0)},
        "work": [
            trial("a", 1, 116.5, 117.2, 122.6, 119.0, 122.0),
            {"worker": "a", "kind": "prepare", "began_at": 104.5, "ended_at": 107.0},
            trial("a", 0, 107.5, 109.0, 116.2, 112.0, 116.0),
            trial("b", 2, 107.6, 110.0, 129.0, 128.0),
        ],
    }


def test_worker_seconds_without_training_have_their_reasons(part: Any, run: dict[str, Any]) -> None:
    # four, seven and ten optimizer steps an epoch: first steps of 1.0, 0.3 and 2.0 s
    assert part("idle").idle_seconds(run, [4, 7, 10]) == pytest.approx(
        {
            "start": 1.0 + 3.0,
            "imports": 3.0 + 2.0,
            "waiting for a first trial": 0.5 + 0.5 + 2.6,
            "prepare": 2.5,
            "first trial, before its first step": 0.5 + 0.4,
            "later trials, before their first step": 0.4,
            "waiting for answers to reports": 0.5,
            "between trials": 0.1 + 0.3 + 0.5 + 0.9,
            "idle tail": 7.4 + 1.0,
        }
    )


def test_whatever_no_worker_trained_in_is_idle(part: Any, run: dict[str, Any]) -> None:
    trained = (112.0 - 108.0) + (116.0 - 112.1) + (119.0 - 116.9) + (122.0 - 119.1) + (128.0 - 108.0)
    found = part("idle").summarise(run, [4, 7, 10])
    assert found["makespan_s"] == 30.0
    assert sum(found["idle_s"].values()) == pytest.approx(2 * 30.0 - trained)
    assert found["idle_share"] == pytest.approx(1 - trained / 60.0, abs=1e-4)
    assert found["turnaround_ms"] == 900


def test_filling_the_trunk_cache_belongs_to_training(part: Any, run: dict[str, Any]) -> None:
    before, after = part("idle").idle_seconds(run, [4, 7, 10]), "first trial, before its first step"
    run["work"][2]["trunk_seconds"] = 0.2
    assert part("idle").idle_seconds(run, [4, 7, 10]) == pytest.approx(before | {after: before[after] - 0.2})


def test_trial_of_one_step_an_epoch_is_taken_to_train_from_its_first_report_on(part: Any, run: dict[str, Any]) -> None:
    run["work"] = [trial("a", 0, 106.0, 107.0, 109.0, 108.0), trial("b", 1, 106.0, 107.0, 109.0, 108.0)]
    assert part("idle").idle_seconds(run, [1, 1])["first trial, before its first step"] == 2.0


@pytest.mark.parametrize(
    ("losses", "is_equal"),
    [
        ([0.5, 0.7], True),
        ([0.57, 0.68], True),  # 0.025 on average
        ([0.38, 0.7], False),  # nothing is frozen, and it is too good to be the same work
        ([0.5, 0.4], True),  # frozen blocks have no dropout with us
        ([0.5, 0.81], False),
        ([0.57, 0.75], False),  # 0.06 on average
    ],
)
def test_work_is_equal_within_the_stated_bounds(part: Any, losses: list[float], is_equal: bool) -> None:
    lines = [
        {"system": "spezia", "round": 0, "makespan_s": 10.0, "losses": losses},
        {"system": "ray", "round": 0, "makespan_s": 18.0, "losses": [0.5, 0.7]},
    ]
    assert part("compare").compare(lines, [0, 3])["ray"]["losses"]["is_equal"] is is_equal


def test_ratios_pair_the_runs_of_one_round(part: Any) -> None:
    makespans = {"spezia": [10.0, 20.0, 10.0], "optuna": [15.0, 40.0], "ray": [30.0]}
    lines = [
        {"system": system, "round": round_, "makespan_s": seconds, "losses": [0.5]}
        for system, of_system in makespans.items()
        for round_, seconds in enumerate(of_system)
    ]
    compared = part("compare").compare(lines, [0])
    assert compared["optuna"]["ratio"] == {"median": 1.75, "least": 1.5, "most": 2.0}
    assert compared["ray"]["ratio"] == {"median": 3.0, "least": 3.0, "most": 3.0}
    assert list(compared) == ["optuna", "ray"]


def test_peers_stand_on_the_versions_that_spezia_stands_on() -> None:
    pinned, theirs = (
        dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)
        for file in (ROOT / "constraints.txt", ROOT / "benchmarks/equal_work/peers/requirements.txt")
    )
    assert theirs.keys() - pinned.keys() == {"ray[tune]"}
    assert {package: pinned[package] for package in theirs if package in pinned}.items() <= theirs.items()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_small_form_runs_beside_optuna_and_the_work_is_equal(tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(resolve_model(MINILM, None, []).directory).save_pretrained(tmp_path / "model")
    config = BertConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    BertModel(config).save_pretrained(tmp_path / "model")
    options = {
        "--systems": ["spezia", "optuna-tuned"],
        "--rounds": ["1"],
        "--trials": ["2"],
        "--rows": ["48"],
        "--model": [str(tmp_path / "model")],
        "--peers-python": [sys.executable],
        "--out": [str(tmp_path / "out.jsonl")],
    }
    command = [
        sys.executable,
        "benchmarks/equal_work.py",
        *(word for name in options for word in [name, *options[name]]),
    ]
    shown = subprocess.check_output(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True)
    ours, theirs, comparison = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert [ours["system"], theirs["system"]] == ["spezia", "optuna-tuned"]
    assert ours["idle_s"].keys() > {"start", "imports", "prepare", "idle tail"}
    for line in (ours, theirs):
        assert len(line["losses"]) == 2
        assert 0.0 < line["idle_share"] < 1.0
        assert all(seconds >= 0.0 for seconds in line["idle_s"].values())
        assert line["workload"]["trials"] == 2
        assert 0.0 < line["share_of_peak"] < 1.0
    assert comparison["compared"]["optuna-tuned"]["losses"]["is_equal"], comparison
    assert "times Spezia's" in shown
