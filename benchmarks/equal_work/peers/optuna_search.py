"""A search by Optuna as it comes, TPE and the median pruner, around `transformers.Trainer`, one trial after another.

    python optuna_search.py WORK MODEL --seed N --trials N

The folder WORK holds what `../workload.py` says, but `configurations.json`. Prints a JSON line for each evaluation,
with the second since 1970 at which it was known, and its validation loss.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import time

import optuna
from trial import fine_tune


def main(work: Path, model: Path, *, seed: int, n_trials: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda trial: objective(trial, work, model), n_trials=n_trials)


def objective(trial: optuna.Trial, work: Path, model: Path) -> float:
    configuration = {
        "learning_rate": trial.suggest_float("learning_rate", 5e-6, 1e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [8, 16, 32]),
        "epochs": trial.suggest_int("epochs", 3, 20),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "weight_decay": trial.suggest_categorical("weight_decay", [0.0, 0.01, 0.1]),
        "schedule": trial.suggest_categorical("schedule", ["linear", "cosine", "constant_with_warmup"]),
        "frozen_layers": trial.suggest_int("frozen_layers", 0, 6),
    }
    losses: list[float] = []
    fine_tune(configuration, work, model, pass_on(trial, losses), is_tuned=False)
    return min(losses)


def pass_on(trial: optuna.Trial, losses: list[float]) -> Callable[[int, float], None]:
    """Return what reports an evaluation to Optuna, and ends the trial where its pruner says so."""

    def report(epoch: int, loss: float) -> None:
        losses.append(loss)
        print(json.dumps({"at": time(), "trial": trial.number, "step": epoch, "loss": loss}), flush=True)
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--trials", type=int, required=True)
    options = parser.parse_args()
    main(options.work, options.model, seed=options.seed, n_trials=options.trials)
