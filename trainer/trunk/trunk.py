"""Replaces the frozen blocks of a model by what they put out before.

B = rows of a batch, T = tokens of its longest row, D = width of a hidden state.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from trainer.data.device_copies import to_device
from trainer.data.tokenised_split import Batch, Split
from trainer.trunk.entry import Stored, TrunkEntry


class UnknownBlock(Exception):
    """A block cannot be replaced by what it put out before."""


class Form(NamedTuple):
    """What a block returns, without its numbers."""

    dtype: str
    """Number format of the hidden states, by torch's name."""
    n_rest: int | None
    """How many Nones follow the hidden states in a tuple; ``None``: the block returns no tuple."""


@dataclass(frozen=True)
class BlockOutput:
    """What a block returns: hidden states, in some architectures as the first of a tuple, before Nones."""

    hidden_BTD: torch.Tensor
    """Hidden states of the batch."""
    rest: tuple[None, ...] | None
    """What follows the hidden states in the tuple; ``None``: the block returns no tuple."""

    @classmethod
    def of(cls, output: Any) -> Self:
        """Take apart what a block returned.

        Raises:
            UnknownBlock: it is more than hidden states.
        """
        if isinstance(output, torch.Tensor):
            return cls(output, None)
        if isinstance(output, tuple) and isinstance(output[0], torch.Tensor) and set(output[1:]) <= {None}:
            return cls(output[0], output[1:])
        raise UnknownBlock(f"a block returns more than hidden states ({type(output).__name__})")

    @property
    def form(self) -> Form:
        """What it is, without its numbers."""
        dtype = str(self.hidden_BTD.dtype).removeprefix("torch.")
        return Form(dtype, None if self.rest is None else len(self.rest))


@dataclass(eq=False)
class Trunk:
    """Feeds the first trained block from files, once ``replace_blocks`` has been called.

    A forward pass that ``select`` has not announced runs the blocks as ever.
    """

    n_rows: int = field(default=0, init=False)
    """How many rows have been fed, each as often as it was."""
    saved_seconds: float | None = field(default=0.0, init=False)
    """Time that the frozen blocks would have taken for these rows, less that in which this trial has computed them for
    the cache; ``None``: how long they take is not known."""
    _selected: torch.Tensor | None = field(default=None, init=False)

    def begin(self, entries: Iterable[TrunkEntry]) -> None:
        """Count anew what is fed, and what this process has spent on computing ``entries``."""
        self.n_rows = 0
        self.saved_seconds = -sum(entry.seconds_spent for entry in entries)

    def count(self, n_rows: int, entry: TrunkEntry) -> None:
        """Note that rows of ``entry`` are fed instead of being computed."""
        self.n_rows += n_rows
        self.add_saved(None if entry.seconds_per_row is None else n_rows * entry.seconds_per_row)

    def add_saved(self, seconds: float | None) -> None:
        """Add to ``saved_seconds``; ``None`` makes them unknown for good."""
        if self.saved_seconds is not None:
            self.saved_seconds = None if seconds is None else self.saved_seconds + seconds

    def select(self, hidden_BTD: torch.Tensor) -> None:
        """Announce that the next forward pass of the model is of rows for which the blocks put out ``hidden_BTD``."""
        self._selected = hidden_BTD

    @property
    def is_selected(self) -> bool:
        """Whether rows have been announced and not been fed since."""
        return self._selected is not None

    def replace_blocks(self, blocks: Sequence[nn.Module], forms: Sequence[Form]) -> None:
        """Let the frozen blocks pass on what is cached.

        Args:
            blocks: the frozen ones in order.
            forms: what each of them returns.
        """
        for position, (block, form) in enumerate(zip(blocks, forms, strict=True)):
            is_last = position == len(blocks) - 1
            block.forward = _stand_in(weakref.ref(block), self, form, is_last=is_last)

    def take(self, like_BTD: torch.Tensor) -> torch.Tensor:
        """Return the hidden states of the selected rows in the shape of ``like_BTD``; padding is 0."""
        assert self._selected is not None
        hidden_BTD, self._selected = self._selected, None
        assert len(hidden_BTD) == len(like_BTD)
        return functional.pad(hidden_BTD, (0, 0, 0, like_BTD.shape[1] - hidden_BTD.shape[1]))


@dataclass(frozen=True, kw_only=True)
class FedSplit:
    """A split like ``split`` whose batches announce to ``trunk`` which rows they are."""

    split: Split
    trunk: Trunk
    entry: TrunkEntry

    def collate(self, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
        """Put the rows ``rows_B``, counted from 0, on ``device``; the next forward pass must be of this batch."""
        batch = self.split.collate(rows_B, device)
        mask_BT = batch.inputs.get("attention_mask")
        hidden_BTD = to_device(self._hidden(rows_B, 0 if mask_BT is None else mask_BT.shape[1]), device)
        self.trunk.select(hidden_BTD)
        self.trunk.count(len(rows_B), self.entry)
        return replace(batch, hidden_BTD=hidden_BTD)

    def take(self, rows: Sequence[int]) -> Self:
        """Return a split of some of the rows, counted from 0, in the order given."""
        return replace(self, split=self.split.take(rows), entry=self.entry.take(rows))

    def _hidden(self, rows_B: NDArray[np.int64], least: int) -> torch.Tensor:
        """Return the hidden states of the rows on the host, behind each row zeros up to ``least`` or the longest."""
        rows = [self.entry.row(row) for row in rows_B]
        shape = len(rows), max(least, *(len(row) for row in rows)), rows[0].shape[1]
        hidden_BTD = np.zeros(shape, dtype=rows[0].dtype)
        for position, hidden_TD in enumerate(rows):
            hidden_BTD[position, : len(hidden_TD)] = hidden_TD
        return to_tensor(hidden_BTD)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def targets(self) -> NDArray[Any]:
        return self.split.targets

    @property
    def lengths_N(self) -> NDArray[np.int64]:
        return self.split.lengths_N

    @property
    def n_targets_N(self) -> NDArray[np.int64]:
        return self.split.n_targets_N

    @property
    def truncated_rows(self) -> int:
        return self.split.truncated_rows

    @property
    def inputs_sha256(self) -> str:
        return self.split.inputs_sha256


def restore_blocks(blocks: Sequence[nn.Module]) -> None:
    """Undo ``Trunk.replace_blocks``."""
    for block in blocks:
        del block.forward


def to_stored(hidden_BTD: torch.Tensor, *, as_bf16: bool) -> Stored:
    """Return hidden states as they are written into files."""
    if as_bf16:
        bits: NDArray[np.uint16] = hidden_BTD.bfloat16().cpu().contiguous().view(torch.int16).numpy().view(np.uint16)
        return bits
    full: NDArray[np.float32] = hidden_BTD.float().cpu().numpy()
    return full


def to_tensor(stored: Stored) -> torch.Tensor:
    """Return hidden states as they were before ``to_stored``, on the host."""
    if stored.dtype == np.uint16:
        return torch.from_numpy(stored.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(stored)


def _stand_in(
    reference: Callable[[], nn.Module | None], trunk: Trunk, form: Form, *, is_last: bool
) -> Callable[..., Any]:
    # By a weak reference, or the block would hold itself and a closed trial its memory
    dtype: torch.dtype = getattr(torch, form.dtype)

    def forward(*args: Any, **kwargs: Any) -> Any:
        block = reference()
        assert block is not None
        if not trunk.is_selected:
            return type(block).forward(block, *args, **kwargs)
        hidden_BTD = args[0] if args else kwargs["hidden_states"]
        if is_last:
            hidden_BTD = trunk.take(hidden_BTD).to(dtype)
        return hidden_BTD if form.n_rest is None else (hidden_BTD, *[None] * form.n_rest)

    return forward
