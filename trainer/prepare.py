"""Everything that the trials of a study share: data, model, facts. Made once per study and process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from service.contract.study import Facts, StudySpec
from trainer.data import Splits, read_splits
from trainer.data_warnings import data_warnings
from trainer.device import Precision, choose_precision
from trainer.dropout import checkpoint_dropout
from trainer.errors import ConfigError, DataError
from trainer.freeze import find_blocks
from trainer.model import Checkpoint, load_checkpoint, load_tokenizer, max_positions
from trainer.model_source import ModelSource, resolve_model
from trainer.space_checks import check_space
from trainer.tokenise import TokenisedSplit, tokenise


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that the trials of one study share. Never changed by a trial."""

    spec: StudySpec
    facts: Facts
    device: torch.device
    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    class_names: tuple[str, ...]
    train: TokenisedSplit
    validation: TokenisedSplit
    test: TokenisedSplit | None


def prepare(spec: StudySpec, *, roots: Sequence[Path], device: torch.device, facts: Facts | None = None) -> Prepared:
    """Read and check data and model, tokenise, and state the facts.

    Args:
        roots: folders that data and model must lie in; relative paths are tried under each.
        device: where the trials will run.
        facts: what the study's first ``prepare`` found; data and model must still be those, and its
            precision is kept. ``None`` for that first one.

    Raises:
        DataError: bad data, or changed since the study was prepared.
        ConfigError: unknown model, impossible space, or a precision that this device cannot keep.
    """
    precision = choose_precision(facts.precision if facts else spec.training.precision, device)
    splits = read_splits(spec.data, seed=spec.seed, roots=roots)
    revision = facts.model_commit if facts and facts.model_commit else spec.model.revision
    source = resolve_model(spec.model.name, revision, roots)
    if facts is not None:
        _check_unchanged(spec, facts, splits, source)
    tokenizer = load_tokenizer(source.directory, spec.data.max_length)
    checkpoint = load_checkpoint(source.directory, class_names=splits.class_names, pad_id=tokenizer.pad_token_id)
    tokenised = _tokenise(splits, tokenizer, spec.data.max_length)
    _check_fits(spec, checkpoint, tokenised)
    if facts is None:
        facts = _state_facts(splits, tokenised, source, checkpoint, precision)
    check_space(spec, checkpoint.model, n_blocks=facts.blocks, n_rows=facts.train_rows)
    return Prepared(
        spec=spec,
        facts=facts,
        device=device,
        checkpoint=checkpoint,
        tokenizer=tokenizer,
        class_names=splits.class_names,
        train=tokenised["train"],
        validation=tokenised["validation"],
        test=tokenised.get("test"),
    )


def _tokenise(splits: Splits, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict[str, TokenisedSplit]:
    named = {"train": splits.train, "validation": splits.validation}
    if splits.test is not None:
        named["test"] = splits.test
    return {name: tokenise(rows, tokenizer, splits.class_names, max_length) for name, rows in named.items()}


def _check_unchanged(spec: StudySpec, facts: Facts, splits: Splits, source: ModelSource) -> None:
    named = (spec.data.train, spec.data.validation, spec.data.test)
    for what, before, now in (
        (", ".join(file for file in named if file is not None), facts.data_sha256, splits.sha256),
        (f"{spec.model.name} in {source.directory}", facts.model_sha256, source.sha256),
    ):
        if before != now:
            raise DataError(
                f"{what} changed since the study was prepared (SHA-256 {before[:12]}… then, {now[:12]}… "
                "here): its trials would not compare; restore it, or make a new study"
            )


def _check_fits(spec: StudySpec, checkpoint: Checkpoint, tokenised: dict[str, TokenisedSplit]) -> None:
    limit = max_positions(checkpoint.model)
    if limit is not None and spec.data.max_length > limit:
        raise ConfigError(
            f"data.max_length = {spec.data.max_length}: {spec.model.name} reads {limit} tokens; use at most {limit}"
        )
    n_embeddings = checkpoint.model.get_input_embeddings().num_embeddings
    largest = max(int(split.tokens_S.max()) for split in tokenised.values())
    if largest >= n_embeddings:
        raise ConfigError(
            f"model.name: the tokenizer of {spec.model.name} knows token {largest}, the model only "
            f"{n_embeddings}; resize its embeddings and save it again"
        )


def _state_facts(
    splits: Splits,
    tokenised: dict[str, TokenisedSplit],
    source: ModelSource,
    checkpoint: Checkpoint,
    precision: Precision,
) -> Facts:
    blocks = find_blocks(checkpoint.model)
    n_truncated = sum(split.truncated_rows for split in tokenised.values())
    return Facts(
        train_rows=len(tokenised["train"]),
        validation_rows=len(tokenised["validation"]),
        test_rows=len(tokenised["test"]) if "test" in tokenised else None,
        classes=list(splits.class_names),
        max_tokens=max(int(split.lengths_N.max()) for split in tokenised.values()),
        truncated_rows=n_truncated,
        blocks=None if blocks is None else len(blocks),
        parameters=checkpoint.model.num_parameters(),
        checkpoint_dropout=checkpoint_dropout(checkpoint.model),
        model_commit=source.commit,
        model_sha256=source.sha256,
        data_sha256=splits.sha256,
        precision=precision,
        warnings=[
            *data_warnings(splits),
            *_truncation(n_truncated, sum(map(len, tokenised.values()))),
            *_drawn_body(checkpoint),
        ],
    )


def _truncation(n_truncated: int, n_rows: int) -> list[str]:
    if not n_truncated:
        return []
    share = n_truncated / n_rows
    return [f"{n_truncated} of {n_rows} texts ({share:.1%}) are cut at data.max_length; raise it to read more"]


def _drawn_body(checkpoint: Checkpoint) -> list[str]:
    prefix = f"{checkpoint.model.base_model_prefix}."
    names = sorted(name for name in checkpoint.missing if name.startswith(prefix))
    if not names:
        return []
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return [f"the checkpoint lacks {len(names)} tensors of the model's body, which start at random: {listed}"]
