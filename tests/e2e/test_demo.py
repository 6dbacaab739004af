"""The README's main job, as a newcomer runs it: MiniLM on the example, eight trials, on this machine."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import pipeline

from service.cli.local_service import local_service
from service.settings import Settings
from spezia.client import Client
from spezia.contract.best_trial import BestTrial

FEEDBACK = Path(__file__).parent.parent.parent / "examples" / "feedback"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(home: Path) -> tuple[BestTrial, float]:
    """`spezia run`; the answer, and how many seconds it took."""
    started_at = time.monotonic()
    command = [sys.executable, "-P", "-m", "spezia.cli", "run", str(FEEDBACK / "study.yaml"), "--json"]
    environment = os.environ | {"SPEZIA_HOME": str(home)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return BestTrial.model_validate_json(ended.stdout), time.monotonic() - started_at


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def best(home: Path) -> BestTrial:
    answer, _ = run(home)
    return answer


@pytest.fixture
def client(home: Path, best: BestTrial) -> Iterator[Client]:
    assert best.study == "customer-feedback"
    with local_service(Settings(home=home, n_workers=0), []) as (url, _), Client(url) as client:
        yield client


def test_the_search_beats_the_defaults(best: BestTrial) -> None:
    assert best.baseline is not None
    assert best.baseline.value is not None
    assert best.value < best.baseline.value
    assert best.improvement == pytest.approx(best.baseline.value - best.value)


def test_trials_are_pruned_each_at_its_last_report(best: BestTrial, client: Client) -> None:
    pruned = [client.get_trial(best.study, trial.number) for trial in client.list_trials(best.study, "PRUNED")]
    assert pruned
    for trial in pruned:
        assert [row.should_prune for row in trial.intermediate_values] == [False] * (trial.step - 1) + [True]


def test_the_model_gives_the_accuracy_that_was_reported(best: BestTrial) -> None:
    assert best.model_directory is not None
    classify = pipeline("text-classification", best.model_directory, device="cpu")
    with (FEEDBACK / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    answers = classify([row["text"] for row in rows], truncation=True)
    right = sum(answer["label"] == row["label"] for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) == pytest.approx(best.metrics["test_accuracy"], abs=1e-6)


def test_a_finished_study_is_shown_at_once(best: BestTrial, home: Path) -> None:
    again, seconds = run(home)
    assert again == best
    assert seconds < 30
