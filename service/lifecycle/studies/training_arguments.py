"""A trial's params as arguments of ``transformers.TrainingArguments``, to train the winner again elsewhere."""

import math
from typing import Any

from service.search.space.params import trial_params
from service.store.studies import StudyRow
from service.store.trials import FrozenTrial
from spezia.contract.hyperparameters import HYPERPARAMETERS, default_of
from spezia.contract.schedules import schedule_arguments

_TRAINING_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "epochs": "num_train_epochs",
    "weight_decay": "weight_decay",
    "lr_schedule": "lr_scheduler_type",
    "label_smoothing": "label_smoothing_factor",
    "max_grad_norm": "max_grad_norm",
    "adam_beta2": "adam_beta2",
    "gradient_checkpointing": "gradient_checkpointing",
    "warmup_ratio": "warmup_steps",  # transformers 5 reads a number below 1 as a share of all steps
}


def training_arguments(study: StudyRow, winner: FrozenTrial) -> dict[str, Any]:
    """Return the winner's params as arguments of ``transformers.TrainingArguments``; none for a script."""
    if study.spec.task == "script":
        return {}
    chosen = trial_params(study.spec, winner.params)
    params: dict[str, Any] = {name: default_of(name, chosen) for name in HYPERPARAMETERS} | chosen
    arguments: dict[str, Any] = {theirs: params[ours] for ours, theirs in _TRAINING_ARGUMENTS.items()}
    assert study.facts is not None
    n_steps = math.ceil(study.facts.train_rows / int(params["batch_size"])) * int(params["epochs"])
    given = schedule_arguments(str(params["lr_schedule"]), n_steps, float(params["warmup_ratio"]))
    return arguments | ({"lr_scheduler_kwargs": given} if given else {}) | {"seed": study.spec.seed}
