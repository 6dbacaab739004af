"""One trial as a competent user writes it: `transformers.Trainer`, dynamic padding, an evaluation each epoch.

Tuned, it also groups rows by length, takes fused AdamW, and reads and tokenises the data once a process.
"""

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import time
from typing import Any

import torch
from datasets import DatasetDict, disable_progress_bars, load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

WARMUP_STEPS = 5
EVALUATION_BATCH = 32
TUNED = {"train_sampling_strategy": "group_by_length", "optim": "adamw_torch_fused"}

disable_progress_bars()
logging.disable_progress_bar()
logging.set_verbosity_error()


class Watch(TrainerCallback):
    """Passes evaluations on and notes when what happened."""

    def __init__(self, report: Callable[[int, float], Any]) -> None:
        self._report = report
        self.first_step_at: float | None = None
        self.reports: list[tuple[float, float]] = []
        self.loss = float("nan")

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.first_step_at = self.first_step_at or time()

    def on_evaluate(self, _arguments: Any, state: Any, _control: Any, metrics: dict[str, float], **_: Any) -> None:
        asked_at = time()
        self.loss = metrics["eval_loss"]
        self._report(round(state.epoch), self.loss)
        self.reports.append((asked_at, time()))


def fine_tune(
    configuration: dict[str, Any],
    work: Path,
    model: Path,
    report: Callable[[int, float], Any],
    *,
    is_tuned: bool,
) -> tuple[float, dict[str, Any]]:
    """Carry out one configuration; return its final validation loss, and what was done when, as `idle.py` reads it.

    Args:
        report: called with each epoch's number, from 1, and validation loss.
    """
    began_at = time()
    set_seed(0)
    tokenizer, data = (read_once if is_tuned else read)(work, model)
    watch = Watch(report)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            make_model(configuration, model, n_labels=len(set(data["train"]["labels"]))),
            TrainingArguments(
                folder,
                learning_rate=configuration["learning_rate"],
                per_device_train_batch_size=configuration["batch_size"],
                per_device_eval_batch_size=EVALUATION_BATCH,
                num_train_epochs=configuration["epochs"],
                weight_decay=configuration["weight_decay"],
                lr_scheduler_type=configuration["schedule"],
                warmup_steps=WARMUP_STEPS,
                eval_strategy="epoch",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
                bf16=(work / "precision.txt").read_text() == "bf16",
                seed=0,
                **(TUNED if is_tuned else {}),
            ),
            train_dataset=data["train"],
            eval_dataset=data["validation"],
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[watch],
        ).train()
    return watch.loss, {
        "worker": str(os.getpid()),
        "kind": "trial",
        "began_at": began_at,
        "first_step_at": watch.first_step_at,
        "reports": watch.reports,
        "ended_at": time(),
    }


def read(work: Path, model: Path) -> tuple[PreTrainedTokenizerBase, DatasetDict]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    data = load_dataset("csv", data_files={split: str(work / f"{split}.csv") for split in ("train", "validation")})
    index = {label: position for position, label in enumerate(sorted(set(data["train"]["label"])))}

    def encode(batch: dict[str, list[str]]) -> dict[str, Any]:
        encoded = tokenizer(batch["text"], truncation=True, max_length=128)
        return {**encoded, "labels": [index[label] for label in batch["label"]]}

    return tokenizer, data.map(encode, batched=True, remove_columns=["text", "label"])


read_once = cache(read)


def make_model(configuration: dict[str, Any], model: Path, *, n_labels: int) -> Any:
    dropout = configuration["dropout"]
    made = AutoModelForSequenceClassification.from_pretrained(
        model,
        num_labels=n_labels,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        classifier_dropout=dropout,
    )
    if configuration["frozen_layers"]:
        made.base_model.embeddings.requires_grad_(False)
        for block in made.base_model.encoder.layer[: configuration["frozen_layers"]]:
            block.requires_grad_(False)
    return made
