"""Opens the cached trunk of a trial: makes it where it is missing, and checks that it changes nothing.

A machine checks once for all models of the same make, as long as the files stay as they are.

The output of frozen blocks is a pure function of the example: they run in eval mode and never change. So it is
computed once for a model, a depth, the inputs of a split and a number format, and kept for all trials, workers
and later studies of the machine. More blocks begin with what fewer of them have put out.

B = rows of a batch, T = tokens of its longest row, D = width of a hidden state, N = rows of a split.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, NamedTuple

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from spezia.contract.facts import Facts
from trainer.data.tokenised_split import Split
from trainer.model.device import Precision, scoring_tokens
from trainer.model.device_memory import is_out_of_memory, release_memory
from trainer.model.forward import forward, without_padding
from trainer.model.freeze import find_blocks
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.trunk.cache import CacheUnavailable, TrunkCache
from trainer.trunk.entry import Stored, TrunkEntry, entry_bytes, write_entry
from trainer.trunk.proofs import Proof
from trainer.trunk.trunk import BlockOutput, FedSplit, Trunk, UnknownBlock, restore_blocks, to_stored

TOLERANCES: dict[Precision, float] = {"fp32": 1e-5, "bf16": 2e-2}
"""Largest difference of logits to those of the plain forward pass, by precision, as a share of the largest logit where
that is above 1: rounding in another order, and hidden states kept with the 8 bits of bf16's mantissa."""

_CHECKS = 1
"""Number of the checks, to be raised when they show something else: those of before are then made again."""

_LOG = logging.getLogger(__name__)


class Opened(NamedTuple):
    """What a trial trains and validates on, and what feeds its model."""

    train: Split
    validation: Split
    trunk: Trunk
    """Counts the rows that it feeds; none where the cache is not used."""


class _Unequal(Exception):
    """The model puts out something else with the cache, or each time."""


class _Reached(Exception):
    """The last frozen block has put out its hidden states; the rest of the forward pass is not needed."""


def open_trunk(
    cache: TrunkCache, model: PreTrainedModel, depth: int, splits: tuple[Split, Split], facts: Facts
) -> Opened:
    """Replace the first ``depth`` blocks of ``model`` by their cached output for the rows of ``splits``.

    Cached or not, losses are equal within ``TOLERANCES``. Whatever speaks against the cache is logged, and training
    goes on without: no trial fails because of it.

    Args:
        model: the model of one trial, with its frozen parameters frozen.
        depth: number of blocks, from the first on, that stay frozen for the whole trial.
        splits: training and validation rows.
        facts: of the study; the model's hash and the precision count.

    Returns:
        What to train and validate on: splits whose batches ``model`` is fed for, or those of ``splits`` if nothing is
        cached.
    """
    if depth == 0:
        return Opened(*splits, Trunk())
    source = _Source(model, (find_blocks(model) or [])[:depth], facts.model_sha256, facts.precision)
    try:
        make = source.make(splits)
        opened = _open_as_shown(cache, make, source, splits) or _open_and_show(cache, make, source, splits)
        _LOG.info("the embeddings and the first %d blocks come from the trunk cache", depth)
        return opened
    except (CacheUnavailable, UnknownBlock, _Unequal) as reason:
        _LOG.warning("the trunk cache is not used: %s", reason)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        _LOG.warning("the trunk cache is not used: memory is short")
    release_memory()  # not in the handler: the error's traceback holds the tensors of the failed pass
    return Opened(*splits, Trunk())


@dataclass(frozen=True)
class _Source:
    """What hidden states are computed from, besides the rows."""

    model: PreTrainedModel
    blocks: Sequence[nn.Module]
    """Blocks that are frozen."""
    model_sha256: str
    precision: Precision

    def key(self, split: Split) -> str:
        """Name everything that hidden states depend on: frozen weights are the checkpoint's own."""
        identity = {
            "model": self.model_sha256,
            "class": type(self.model).__name__,
            "depth": len(self.blocks),
            "inputs": split.inputs_sha256,
            "precision": self.precision,
            "device": self.model.device.type,
            "versions": [torch.__version__, transformers.__version__],
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def make(self, splits: tuple[Split, Split]) -> str:
        """Name everything that decides whether the cache changes what the model puts out.

        That is the inputs, the modules with their switches, such as whether they drop numbers, and which parameters
        train; not the values of parameters, of which the frozen ones are the checkpoint's own.
        """
        modules = [
            [name, type(module).__qualname__, sorted((key, bool(value)) for key, value in _switches(module))]
            for name, module in self.model.named_modules()
        ]
        parameters = [
            [name, list(parameter.shape), str(parameter.dtype), parameter.requires_grad]
            for name, parameter in self.model.named_parameters()
        ]
        identity = [_CHECKS, *map(self.key, splits), modules, parameters]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def logits(self, split: Split, rows_B: NDArray[np.int64]) -> torch.Tensor:
        batch = split.collate(rows_B, self.model.device)
        return without_padding(forward(self.model, batch, self.precision), batch)


class _Run(NamedTuple):
    """What a model puts out for the rows of the check, without the cache and in eval mode."""

    outputs: list[BlockOutput]
    """What each of the frozen blocks returns."""
    logits: torch.Tensor

    @property
    def hidden_BTD(self) -> torch.Tensor:
        """Hidden states behind the frozen blocks."""
        return self.outputs[-1].hidden_BTD


def _switches(module: nn.Module) -> list[tuple[str, bool | int | float]]:
    return [(key, value) for key, value in vars(module).items() if isinstance(value, bool | int | float)]


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


def _open_as_shown(cache: TrunkCache, make: str, source: _Source, splits: tuple[Split, Split]) -> Opened | None:
    """Open the trunk of a model as that of an earlier one of its make; ``None`` where there was none, or a file has
    changed or is missing."""
    proof = cache.proofs.find(make)
    if proof is None:
        return None
    entries = [entry for entry in map(cache.find, map(source.key, splits)) if entry is not None]
    if [entry.version for entry in entries] != list(proof.versions):
        return None
    trunk = Trunk()
    trunk.replace_blocks(source.blocks, proof.forms)
    trunk.begin(entries)
    return Opened(*_fed(splits, trunk, entries), trunk)


def _open_and_show(cache: TrunkCache, make: str, source: _Source, splits: tuple[Split, Split]) -> Opened:
    in_training_BTD = _hidden(source, splits[0], _check_rows(splits[0]))
    with _eval_mode(source.model):
        plain = [_run(source, split) for split in splits]
        # Their own dropouts are off, but some architectures (BioGPT) drop parts of the embeddings between their modules
        if _error(plain[0].hidden_BTD, in_training_BTD) > TOLERANCES[source.precision]:
            raise _Unequal("what the frozen blocks read is dropped out at random in training")
        entries = [_entry(cache, source, *of_split) for of_split in zip(splits, plain, strict=True)]
        forms = [output.form for output in plain[0].outputs]
        trunk = Trunk()
        trunk.replace_blocks(source.blocks, forms)
        fed = _fed(splits, trunk, entries)
        try:
            for split, expected in zip(fed, plain, strict=True):
                error = _error(expected.logits, _logits(source, split))
                if trunk.is_selected or not error <= TOLERANCES[source.precision]:
                    raise _Unequal(f"with it the outputs of this model differ by {error:.1e}")
        except (RuntimeError, _Unequal):
            restore_blocks(source.blocks)
            raise
    trunk.begin(entries)  # the rows of the check are none of the trial
    cache.proofs.add(make, Proof(forms, [entry.version for entry in entries]))
    return Opened(*fed, trunk)


def _fed(splits: tuple[Split, Split], trunk: Trunk, entries: Sequence[TrunkEntry]) -> tuple[FedSplit, FedSplit]:
    train, validation = (
        FedSplit(split=split, trunk=trunk, entry=entry) for split, entry in zip(splits, entries, strict=True)
    )
    return train, validation


def _entry(cache: TrunkCache, source: _Source, split: Split, plain: _Run) -> TrunkEntry:
    stored_N = _stored_lengths(split, plain.hidden_BTD)
    width, itemsize = plain.hidden_BTD.shape[-1], 2 if source.precision == "bf16" else 4
    size = entry_bytes(len(split), int(stored_N.sum()), width, itemsize)

    def write(file: IO[bytes]) -> float:
        with _fed_from_below(cache, source, split, plain) as below:
            rows = _all_rows(source, below.split, stored_N)
            return write_entry(file, len(split), rows, seconds_below=below.seconds, clock=cache.clock)

    return cache.entry(source.key(split), size, write)


class _Below(NamedTuple):
    """What the output of the frozen blocks is computed from."""

    split: Split
    seconds: float | None
    """Time that it took; ``None``: it is not known."""


@contextmanager
def _fed_from_below(cache: TrunkCache, source: _Source, split: Split, plain: _Run) -> Iterator[_Below]:
    """Feed the first of the frozen blocks if the cache has what they put out, so that only those above are computed.

    What is in an entry does not depend on which ones there were before it: the rows go through the blocks in the same
    batches, and so come out equal to the last bit, unless they are kept in fewer bits than blocks pass on.
    """
    found = _deepest_below(cache, source, split) if source.precision == "fp32" else None
    if found is None:
        yield _Below(split, 0.0)
        return
    blocks, entry = found
    trunk = Trunk()
    trunk.replace_blocks(blocks, [output.form for output in plain.outputs[: len(blocks)]])
    try:
        seconds = None if entry.seconds_per_row is None else entry.seconds_per_row * len(split)
        yield _Below(FedSplit(split=split, trunk=trunk, entry=entry), seconds)
    finally:
        restore_blocks(blocks)


def _deepest_below(cache: TrunkCache, source: _Source, split: Split) -> tuple[Sequence[nn.Module], TrunkEntry] | None:
    """Return as many of the first blocks as possible, but not all, whose output is cached, and that output."""
    for depth in range(len(source.blocks) - 1, 0, -1):
        blocks = source.blocks[:depth]
        if entry := cache.find(replace(source, blocks=blocks).key(split)):
            return blocks, entry
    return None


def _stored_lengths(split: Split, hidden_BTD: torch.Tensor) -> NDArray[np.int64]:
    """Return how many hidden states are kept of each row: of texts as many as they have tokens, of images all.

    Args:
        hidden_BTD: hidden states of the rows of the check.
    """
    longest = _check_rows(split)
    if hidden_BTD.ndim != 3 or len(hidden_BTD) != len(longest):
        raise UnknownBlock("the blocks of this architecture do not put out [rows, tokens, width]")
    n_hidden = hidden_BTD.shape[1]
    mask_BT = split.collate(longest, hidden_BTD.device).inputs.get("attention_mask")
    if mask_BT is None:
        return np.full(len(split), n_hidden, dtype=np.int64)
    if not mask_BT[:, 0].all():
        raise UnknownBlock("this model's rows are padded on the left")
    if n_hidden < split.lengths_N.max():
        raise UnknownBlock("the blocks of this architecture put out fewer hidden states than there are tokens")
    return split.lengths_N


def _all_rows(source: _Source, split: Split, stored_N: NDArray[np.int64]) -> Iterator[tuple[int, Stored]]:
    """Yield each row, counted from 0, and as many of its hidden states as ``stored_N`` says."""

    def hidden(rows_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], torch.Tensor]:
        return rows_B, _hidden(source, split, rows_B)

    micro_batch = MicroBatchSize(scoring_tokens(source.model.device))
    for rows_B, hidden_BTD in micro_batch.run_longest_first(hidden, split.lengths_N):
        stored_BTD = to_stored(hidden_BTD, as_bf16=source.precision == "bf16")
        for row, stored_TD, length in zip(rows_B, stored_BTD, stored_N[rows_B], strict=True):
            yield int(row), stored_TD[:length]


@torch.no_grad()
def _hidden(source: _Source, split: Split, rows_B: NDArray[np.int64]) -> torch.Tensor:
    """Return the hidden states ``[B, T, D]`` behind the frozen blocks."""
    outputs: list[torch.Tensor] = []

    def stop(_module: nn.Module, _args: object, output: Any) -> None:
        outputs.append(BlockOutput.of(output).hidden_BTD)
        raise _Reached

    handle = source.blocks[-1].register_forward_hook(stop)
    try:
        source.logits(split, rows_B)
    except _Reached:
        return outputs[0]
    finally:
        handle.remove()
    raise UnknownBlock("the forward pass leaves the last frozen block out")


def _run(source: _Source, split: Split) -> _Run:
    """Run the model on the rows of the check.

    Raises:
        UnknownBlock: a block cannot be replaced, or depends on a parameter that trains.
    """
    returned: list[Any] = []
    hooks = [block.register_forward_hook(lambda *call: returned.append(call[2])) for block in source.blocks]
    try:
        with torch.enable_grad():
            logits = source.logits(split, _check_rows(split))
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [BlockOutput.of(output) for output in returned]
    if len(outputs) != len(source.blocks) or outputs[-1].hidden_BTD.requires_grad:
        raise UnknownBlock("a parameter that trains lies below the last frozen block")
    return _Run(outputs, logits.detach())


def _check_rows(split: Split) -> NDArray[np.int64]:
    """The longest row and the shortest, between which there is the widest padding."""
    return np.array([split.lengths_N.argmax(), split.lengths_N.argmin()])


@torch.no_grad()
def _logits(source: _Source, split: Split) -> torch.Tensor:
    return source.logits(split, _check_rows(split))


def _error(expected: torch.Tensor, found: torch.Tensor) -> float:
    return float((expected - found).abs().max()) / max(1.0, float(expected.abs().max()))
