"""What every system carries out: rows, a model, and a fixed list of configurations, without sampler or pruner.

WORK/train.csv, WORK/validation.csv    columns `text`, `label`
WORK/configurations.json               one object of hyperparameters for each trial
WORK/precision.txt                     number format of all systems, fp32 or bf16
"""

import csv
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.model.device import Precision

FEEDBACK = Path(__file__).parent.parent.parent / "examples" / "feedback"
N_INTENTS = 10
Row = tuple[str, str]
Configuration = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Rows and configurations of one comparison."""

    name: str
    data: str
    """Name of the data."""
    train: list[Row]
    validation: list[Row]
    configurations: list[Configuration]
    precision: Precision
    """Number format."""

    def write(self, work: Path) -> None:
        """Write what the systems read into the folder ``work``."""
        for split, rows in {"train": self.train, "validation": self.validation}.items():
            with (work / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["text", "label"])
                writer.writerows(rows)
        (work / "configurations.json").write_text(json.dumps(self.configurations, indent=1))
        (work / "precision.txt").write_text(self.precision)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the workload in a line of results."""
        return {
            "name": self.name,
            "data": self.data,
            "train_rows": len(self.train),
            "validation_rows": len(self.validation),
            "trials": len(self.configurations),
            "precision": self.precision,
        }


def make_workload(
    name: str,
    data: Path | None,
    model: Path,
    *,
    precision: Precision,
    n_trials: int | None = None,
    n_rows: int | None = None,
) -> Workload:
    """Draw a workload of ``KINDS``.

    Args:
        data: folder of Banking77, of which ten intents are taken; ``None``: examples/feedback.
        model: folder of the model, whose blocks may be frozen.
        n_trials: trials, if not as many as the workload has.
        n_rows: rows to train on, if not as many as the workload has; a third as many validate.
    """
    kind = KINDS[name]
    n_trials, n_rows = n_trials or kind.n_trials, n_rows or kind.n_rows
    train, validation = read_feedback() if data is None else read_banking77(data)
    n_blocks = json.loads((model / "config.json").read_text())["num_hidden_layers"]
    draw = random.Random(7)
    return Workload(
        name=name,
        data="examples/feedback" if data is None else f"banking77, {N_INTENTS} intents",
        train=shuffled(train)[:n_rows],
        validation=shuffled(validation)[: n_rows // 3],
        configurations=[kind.draw(draw, n_blocks) for _ in range(n_trials)],
        precision=precision,
    )


def read_feedback() -> tuple[list[Row], list[Row]]:
    return read_csv(FEEDBACK / "train.csv", "label"), read_csv(FEEDBACK / "validation.csv", "label")


def read_banking77(data: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of the first intents in Python's order of strings; its test rows validate."""
    train, test = (read_csv(data / f"banking77_{split}.csv", "category") for split in ("train", "test"))
    kept = set(sorted({label for _, label in train})[:N_INTENTS])
    return [row for row in train if row[1] in kept], [row for row in test if row[1] in kept]


def read_csv(file: Path, label: str) -> list[Row]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [(row["text"].strip(), row[label]) for row in csv.DictReader(opened)]


def shuffled(rows: list[Row]) -> list[Row]:
    return random.Random(0).sample(rows, len(rows))


def draw_seven(draw: random.Random, n_blocks: int) -> Configuration:
    """Draw the seven hyperparameters: trials of very different length."""
    return {
        "learning_rate": math.exp(draw.uniform(math.log(1e-5), math.log(1e-3))),
        "batch_size": draw.choice([8, 16, 32]),
        "epochs": draw.randint(1, 3),
        "dropout": draw.uniform(0.0, 0.4),
        "weight_decay": draw.uniform(0.0, 0.3),
        "schedule": draw.choice(["linear", "cosine", "constant_with_warmup"]),
        "frozen_layers": draw.randint(0, n_blocks),
    }


def draw_of_one_length(draw: random.Random, n_blocks: int) -> Configuration:
    """Draw what leaves all trials as long: about ten seconds of a core for MiniLM on 240 short rows."""
    return draw_seven(draw, n_blocks) | {"batch_size": 16, "epochs": 2, "frozen_layers": 0}


@dataclass(frozen=True)
class Kind:
    """A workload that can be drawn."""

    draw: Callable[[random.Random, int], Configuration]
    n_trials: int
    n_rows: int


KINDS = {"seven": Kind(draw_seven, 12, 480), "ten-seconds": Kind(draw_of_one_length, 24, 240)}
