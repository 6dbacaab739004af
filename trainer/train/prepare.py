"""Prepares what the trials of a study share, once per study and process: data, model, facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from spezia.contract.data import Data
from spezia.contract.facts import Facts
from spezia.contract.objectives import BESIDE
from spezia.contract.pruners import RungsPruner
from spezia.contract.study_spec import Model, StudySpec
from spezia.contract.tasks import TASKS
from spezia.contract.tasks import Task as TaskName
from trainer.data.class_weights import balanced_weights
from trainer.data.column_checks import Table, column_choices
from trainer.data.image_split import ImageSplit
from trainer.data.read_splits import read_splits, read_table
from trainer.data.rows import Splits
from trainer.data.token_checks import check_tokens
from trainer.data.tokenised_split import Split, TokenisedSplit
from trainer.data.warnings import data_warnings
from trainer.errors import ConfigError, DataError
from trainer.model.causality import check_causal
from trainer.model.device import Precision, choose_precision, forbid_tf32
from trainer.model.dropout import checkpoint_dropout
from trainer.model.forward import bf16_problem
from trainer.model.freeze import find_blocks
from trainer.model.image_checks import check_images
from trainer.model.model_source import ModelSource, resolve_model
from trainer.model.padding import find_padding_side
from trainer.model.pretrained import (
    Pretrained,
    forget_unread_types,
    known_tokens,
    load_image_processor,
    load_pretrained,
    load_tokenizer,
    max_positions,
)
from trainer.model.space_checks import check_space
from trainer.model.vocabulary import find_seen_tokens
from trainer.tasks.causal_lm import CausalLm
from trainer.tasks.registry import AnyTask, choose_task
from trainer.tasks.text_multi_label import MultiLabelClassification
from trainer.train.stopwatch import Stopwatch


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the trials of one study share. No trial changes it."""

    spec: StudySpec
    facts: Facts
    device: torch.device
    """Device that the trials run on."""
    task: AnyTask
    """Task of the study, with its classes."""
    pretrained: Pretrained
    train: Split
    validation: Split
    test: Split | None
    class_weights_C: NDArray[np.float32] | None
    """Weight of each class in the training loss; ``None``: all weigh the same."""
    load_seconds: float
    """Seconds that reading and checking data and model took."""


def prepare(spec: StudySpec, *, roots: Sequence[Path], device: torch.device, facts: Facts | None = None) -> Prepared:
    """Read and check data and model, tokenise, and state the facts.

    Args:
        roots: folders that data and model must lie in; relative paths are tried under each.
        device: where the trials will run.
        facts: what the study's first ``prepare`` found; data and model must still be those, and its precision is
            kept. ``None`` for that first one.

    Raises:
        DataError: bad data, or data or a model that changed since the study was prepared.
        ConfigError: unknown model, impossible space, or a precision that this device cannot keep.
    """
    assert spec.model is not None
    assert spec.data is not None
    forbid_tf32()
    stopwatch = Stopwatch()
    precision = choose_precision(facts.precision if facts else spec.training.precision, device)
    data, table = _read_train(spec.task, spec.data, roots)
    task = choose_task(spec.task, data, table.values)
    splits = read_splits(task, data, table, seed=spec.seed, roots=roots)
    task = replace(task, class_names=splits.class_names)
    _check_metrics(spec, task)
    _check_class_weights(spec, task)
    revision = facts.model_commit if facts and facts.model_commit else spec.model.revision
    source = resolve_model(spec.model.name, revision, roots)
    if facts is not None:
        _check_unchanged(spec.model, spec.data, facts, splits, source)
    processor = _load_processor(task, data, source, spec.data.max_length)
    pretrained = load_pretrained(source.directory, task=task, processor=processor)
    named = {"train": splits.train} | splits.held_out
    max_length = _max_length(spec.model, spec.data, task, pretrained)
    if not task.reads_images:
        processor.model_max_length = max_length  # the saved tokenizer truncates where training did
        forget_unread_types(processor, pretrained.model)
    encoded = {name: task.encode(rows, processor, max_length) for name, rows in named.items()}
    warnings = [*data_warnings(task, splits, is_weighted=spec.training.class_weights is not None), *pretrained.notes]
    if not task.reads_images:
        _check_fits(spec.model, pretrained, encoded)
        warnings += [*_adapted_length(spec.data, task, max_length), *_unmarked_pairs(data, processor)]
    if isinstance(encoded["train"], TokenisedSplit):
        warnings += [*check_tokens(splits.train.inputs, encoded["train"], processor), *_altered(task, encoded)]
        encoded = _padded(pretrained, encoded, facts)
        trial_splits = encoded["train"], encoded["validation"]
        pretrained = replace(pretrained, seen_tokens=find_seen_tokens(pretrained, trial_splits))
    if facts is None:
        precision, notes = _try_model(spec, pretrained, splits, encoded["train"], precision)
        warnings += notes
        facts = _state_facts(spec, data, task, splits, encoded, source, pretrained, precision, warnings)
    check_space(spec, pretrained.model, n_blocks=facts.blocks, n_rows=facts.train_rows)
    return Prepared(
        spec=spec,
        facts=facts,
        device=device,
        task=task,
        pretrained=pretrained,
        train=encoded["train"],
        validation=encoded["validation"],
        test=encoded.get("test"),
        class_weights_C=(
            None if spec.training.class_weights is None else balanced_weights(encoded["train"], len(task.class_names))
        ),
        load_seconds=stopwatch.seconds,
    )


def _load_processor(task: AnyTask, data: Data, source: ModelSource, max_length: int | None) -> Any:
    """Load a model's image processor, or its tokenizer, which truncates to ``max_length`` or the task's default."""
    if task.reads_images:
        return load_image_processor(source.directory)
    return load_tokenizer(
        source.directory,
        max_length or task.default_length,
        reads_special_tokens=isinstance(task, CausalLm),
        reads_pairs="text_pair" in data.columns,
    )


def _try_model(
    spec: StudySpec, pretrained: Pretrained, splits: Splits[Any, Any], train: Split, precision: Precision
) -> tuple[Precision, list[str]]:
    """Refuse a model that cannot learn from ``train``; return the precision that it can compute in, and a note where
    that is not ``precision``."""
    if isinstance(train, ImageSplit):
        check_images(splits.train.inputs, train, pretrained.model)
    if spec.task == "causal-lm":
        check_causal(pretrained.model, train)
    if precision == "bf16" and (problem := bf16_problem(pretrained.model, train)):
        return "fp32", [_without_bf16(spec, pretrained, problem)]
    return precision, []


def _without_bf16(spec: StudySpec, pretrained: Pretrained, problem: str) -> str:
    """Say that fp32 is taken, since bf16 is not possible, unless the study asks for bf16."""
    what = f"the architecture {pretrained.model.config.model_type!r} cannot compute in bf16 ({problem})"
    if spec.training.precision == "bf16":
        raise ConfigError(f"training.precision = bf16: {what}; set it to fp32 or auto")
    return f"{what}, so trials compute in fp32, which takes longer"


def _padded(pretrained: Pretrained, encoded: Mapping[str, Split], facts: Facts | None) -> dict[str, Split]:
    """Let the splits, and the tokenizer that is saved with a model, pad on the side that the model wants, or on that of
    ``facts``."""
    splits = {name: split for name, split in encoded.items() if isinstance(split, TokenisedSplit)}
    side = facts.padding_side if facts else find_padding_side(pretrained.model, splits.values())
    if side == "left":
        pretrained.processor.padding_side = side
        pretrained.processor.init_kwargs["padding_side"] = side  # what is saved
    return {name: replace(split, pads_left=side == "left") for name, split in splits.items()}


def _read_train(task: TaskName, data: Data, roots: Sequence[Path]) -> tuple[Data, Table]:
    """Read the training data, and name the columns that were found where the study leaves that open."""
    choices = column_choices(TASKS[task].columns, data.columns)
    table = read_table(data.train, choices, roots)
    columns = next(columns for columns in choices if columns.keys() == table.values.keys())
    if columns == data.columns:
        return data, table
    found = " and ".join(name for name in columns if name not in data.columns)
    if data.columns.keys() < columns.keys():
        note = f"{data.train} has a {found}, which is read with each {next(iter(data.columns))}"
    else:
        note = f"{data.train} has no {' and '.join(data.columns)}, so its {found} are read"
    return data.model_copy(update={"columns": columns}), replace(table, notes=(note, *table.notes))


def _check_class_weights(spec: StudySpec, task: AnyTask) -> None:
    """Check what the contract cannot know: whether the data has one class a text."""
    if spec.training.class_weights is not None and not task.weighs_classes:
        raise ConfigError(
            "training.class_weights: this study's texts have several classes each, every one a question of yes or no "
            "without other classes to be weighed against; drop it"
        )


def _check_metrics(spec: StudySpec, task: AnyTask) -> None:
    """Check what the contract cannot know: whether the data has one class a text."""
    named = [(f"objective[{index}]", one.metric) for index, one in enumerate(spec.objectives)]
    named = named if len(named) > 1 else [("objective", spec.metric)]
    for field, metric in [*named, *((f"constraints[{i}]", one.metric) for i, one in enumerate(spec.constraints))]:
        if metric not in ("validation_loss", *task.metric_names, *BESIDE):
            classes = "several classes" if isinstance(task, MultiLabelClassification) else "one class"
            raise ConfigError(
                f"{field}.metric = {metric}: this study's texts have {classes} each; use validation_loss, "
                f"{', '.join(task.metric_names)}"
            )


def _check_unchanged(model: Model, data: Data, facts: Facts, splits: Splits[Any, Any], source: ModelSource) -> None:
    named = (data.train, data.validation, data.test)
    for what, before, now in (
        (", ".join(file for file in named if file is not None), facts.data_sha256, splits.sha256),
        (f"{model.name} in {source.directory}", facts.model_sha256, source.sha256),
    ):
        if before != now:
            raise DataError(
                f"{what} changed since the study was prepared (SHA-256 {before[:12]}… then, {now[:12]}… "
                "here), so its trials could not be compared; restore it, or create a new study"
            )


def _max_length(model: Model, data: Data, task: AnyTask, pretrained: Pretrained) -> int:
    """Return the tokens of the longest example: what the study asks for, or what the model reads of the default."""
    limit = max_positions(pretrained.model)
    if data.max_length is None:
        return task.default_length if limit is None else min(task.default_length, limit)
    if limit is not None and data.max_length > limit:
        raise ConfigError(
            f"data.max_length = {data.max_length}: {model.name} reads {limit} tokens; use at most {limit}"
        )
    return data.max_length


def _adapted_length(data: Data, task: AnyTask, max_length: int) -> list[str]:
    if data.max_length is not None or max_length == task.default_length:
        return []
    return [f"data.max_length is not given and is {max_length}, since the model reads no more tokens"]


def _unmarked_pairs(data: Data, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    if "text_pair" not in data.columns:
        return []
    if tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add():
        return []
    note = (
        "the model's tokenizer puts nothing between a text and its pair, so the model cannot tell where the second one "
        "begins; take another model, or write into the texts what parts them"
    )
    return [note]


def _check_fits(model: Model, pretrained: Pretrained, encoded: dict[str, Split]) -> None:
    n_known = known_tokens(pretrained.model)
    largest = max(int(split.tokens_S.max()) for split in encoded.values() if isinstance(split, TokenisedSplit))
    if n_known is not None and largest >= n_known:
        raise ConfigError(
            f"model.name: the tokenizer of {model.name} knows token {largest}, the model only "
            f"{n_known}; resize its embeddings and save it again"
        )


def _state_facts(
    spec: StudySpec,
    data: Data,
    task: AnyTask,
    splits: Splits[Any, Any],
    encoded: dict[str, Split],
    source: ModelSource,
    pretrained: Pretrained,
    precision: Precision,
    warnings: list[str],
) -> Facts:
    blocks = find_blocks(pretrained.model)
    n_truncated = sum(split.truncated_rows for split in encoded.values())
    return Facts(
        train_rows=len(encoded["train"]),
        validation_rows=len(encoded["validation"]),
        test_rows=len(encoded["test"]) if "test" in encoded else None,
        columns=dict(data.columns),
        classes=list(splits.class_names),
        max_tokens=0 if task.reads_images else max(int(split.lengths_N.max()) for split in encoded.values()),
        truncated_rows=n_truncated,
        blocks=None if blocks is None else len(blocks),
        parameters=pretrained.model.num_parameters(),
        checkpoint_dropout=checkpoint_dropout(pretrained.model),
        model_commit=source.commit,
        model_sha256=source.sha256,
        data_sha256=splits.sha256,
        precision=precision,
        awaits_similarity=spec.training.similarity,
        awaits_step_times=not isinstance(spec.pruner, RungsPruner),  # whose first rung is worth a pause
        padding_side="left" if getattr(encoded["train"], "pads_left", False) else "right",
        warnings=[
            *warnings,
            *_truncation(task, n_truncated, sum(map(len, encoded.values()))),
            *_drawn_body(task, pretrained),
        ],
    )


def _truncation(task: AnyTask, n_truncated: int, n_rows: int) -> list[str]:
    if not n_truncated:
        return []
    share = n_truncated / n_rows
    return [f"{n_truncated} of {n_rows} {task.noun} ({share:.1%}) are cut at data.max_length; raise it to read more"]


def _altered(task: AnyTask, encoded: Mapping[str, Split]) -> list[str]:
    counts = {name: split.altered_rows for name, split in encoded.items() if isinstance(split, TokenisedSplit)}
    return [
        f"the model's chat template leaves out or changes messages of {n_altered} of {len(encoded[name])} {name} "
        f"{task.noun}, as it may those of roles that it does not know; look at what tokenizer.apply_chat_template "
        "makes of them"
        for name, n_altered in counts.items()
        if n_altered
    ]


def _drawn_body(task: AnyTask, pretrained: Pretrained) -> list[str]:
    prefix = f"{pretrained.model.base_model_prefix}." if task.has_new_head else ""
    names = sorted(name for name in pretrained.missing if name.startswith(prefix))
    if not names:
        return []
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return [f"the checkpoint lacks {len(names)} tensors of the model's body, which start at random: {listed}"]
