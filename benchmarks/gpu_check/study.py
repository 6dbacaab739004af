"""Part ``study``: a small search end to end, by a service and one worker, on the rows of examples/feedback.

python study.py [--model DIR]
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from findings import Tell, take_stdout
from random_models import SHAPES, SMALL, save_random

from service.cli.local_service import local_service
from service.settings import Settings
from spezia import BestTrial, Client, Study, StudySpec
from trainer.model.device import choose_device

FEEDBACK = Path(__file__).parent.parent.parent / "examples" / "feedback"
SPLITS = ("train", "validation", "test")
NAME = "gpu-check"
N_TRIALS = 4
SECONDS = 80.0
"""Time that the study has: it says what it knows before the whole part is killed."""


def main(model: Path | None) -> None:
    tell = take_stdout()
    is_gpu = choose_device().type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = {split: copy_rows(split, work, None if is_gpu else 48) for split in SPLITS}
        if model is None:
            model = work / "model"
            save_random(model, (SHAPES if is_gpu else SMALL)["minilm"], words_of(rows["train"]))
        tell({"model": model.name, "rows": {split: len(of_split) for split, of_split in rows.items()}})
        home = work / "home"
        settings = Settings(home=home, n_workers=1)
        with (
            local_service(settings, [work, model.parent]) as (url, _),
            log_if_it_fails(home / "service.log"),  # before the service ends, which takes a while
            Client(url) as client,
        ):
            search(client, make_spec(work, model), tell)


def copy_rows(split: str, work: Path, n_rows: int | None) -> list[dict[str, str]]:
    """Write the first ``n_rows`` rows of a split into ``work``, or all; return them."""
    with (FEEDBACK / f"{split}.csv").open(newline="") as file:
        rows = list(islice(csv.DictReader(file), n_rows))
    with (work / f"{split}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def words_of(rows: list[dict[str, str]]) -> list[str]:
    return sorted({word for row in rows for word in row["text"].split()})


def make_spec(work: Path, model: Path) -> StudySpec:
    body: dict[str, Any] = {
        "name": NAME,
        "task": "text-classification",
        "model": {"name": str(model)},
        "data": {split: str(work / f"{split}.csv") for split in SPLITS} | {"max_length": 64},
        "search_space": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-3, "log": True},
            "frozen_layers": {"type": "int", "low": 0, "high": 1},
        },
        "fixed": {"epochs": 2, "batch_size": 16},
        "n_trials": N_TRIALS,
    }
    return StudySpec.model_validate(body)


@contextmanager
def log_if_it_fails(log: Path) -> Iterator[None]:
    """Print the service's log, which the workers write to as well, if what is done meanwhile raises."""
    try:
        yield
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace") if log.exists() else "")
        raise


def search(client: Client, spec: StudySpec, tell: Tell) -> None:
    """Run the study to its end and tell what it found.

    Raises:
        TimeoutError: It takes too long.
        SystemExit: It fails.
    """
    started_at = time.monotonic()

    def look(study: Study) -> None:
        tell({"state": study.state, "trials": study.trials.model_dump()})
        if time.monotonic() - started_at > SECONDS:
            raise TimeoutError(f"the study is not done after {SECONDS:.0f} s")

    client.create_study(spec)
    study = client.wait(NAME, poll_seconds=0.5, on_poll=look)
    tell({"state": study.state, "seconds": round(time.monotonic() - started_at, 1)})
    if study.facts is not None:
        tell({"precision": study.facts.precision, "parameters": study.facts.parameters})
    trials = [client.get_trial(NAME, trial.number) for trial in client.list_trials(NAME)]
    ended = [trial for trial in trials if trial.started_at and trial.finished_at]
    tell(
        {
            "device": sorted({attempt.device for trial in trials for attempt in trial.attempts}),
            "device_seconds": round(study.device_seconds, 2),
            "quote": study.quote.device_seconds.model_dump() if study.quote else None,
            "quote_error": study.quote_error,
            "values": [trial.value for trial in trials],
            "trial_seconds": [round((trial.finished_at - trial.started_at).total_seconds(), 3) for trial in ended],
            # from the end of a trial, as the service saw it, to the start of the next
            "seconds_between_trials": [
                round((after.started_at - before.finished_at).total_seconds(), 3) for before, after in pairwise(ended)
            ],
        }
    )
    if study.state != "complete" or study.trials.complete + study.trials.pruned < N_TRIALS:
        raise SystemExit(f"the study is {study.state}: {study.failure}, {study.failures}")
    best = client.best(NAME)
    assert isinstance(best, BestTrial)
    tell({"best_value": best.value, "metrics": best.metrics, "has_model": best.model is not None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    main(parser.parse_args().model)
