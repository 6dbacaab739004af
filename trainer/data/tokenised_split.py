"""The examples of a study as numbers, and batches of them on a device.

N = rows of a split, B = rows of a batch, S = tokens of all rows together, T = tokens of the batch's longest row.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from trainer.data.device_copies import to_device

IGNORED = -100
"""Target of a token that does not count; torch and transformers use the same number."""

DEVICE_BYTES = 2**28
"""Size up to which a split lies on the device whole, also while another study trains: 60 million tokens, or 20 million
where each has a target."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows of a split on the device."""

    inputs: dict[str, torch.Tensor]
    """Arguments of the model's forward pass: ``input_ids``, ``attention_mask`` and, of pairs, ``token_type_ids``
    ``[B, T]``, or ``pixel_values`` ``[B, channels, height, width]``."""
    targets: torch.Tensor
    """Targets of the rows: ``[B]``, ``[B, C]`` for several classes a row, or ``[B, T]`` where each token has one."""
    rows_B: torch.Tensor
    """Number of each row in its split, counted from 0."""
    starts_B: torch.Tensor | None = None
    """Position of each row's first token; ``None``: 0 for all."""
    next_N: torch.Tensor | None = None
    """Where targets are tokens to be predicted, the places in the flattened batch whose next token counts, in order,
    and perhaps some more behind them, whose next token is ``IGNORED``."""
    hidden_BTD: torch.Tensor | None = None
    """What the frozen blocks put out for the rows, where that is cached; they need not compute then."""


class Split(Protocol):
    """What every task's splits can do."""

    @property
    def targets(self) -> NDArray[Any]:
        """Targets of all rows, in the shape that the task gives them."""

    @property
    def lengths_N(self) -> NDArray[np.int64]:
        """Cost of a forward pass over each row, in tokens."""

    @property
    def n_targets_N(self) -> NDArray[np.int64]:
        """Number of targets of each row that its loss is a sum over; at least 1."""

    @property
    def truncated_rows(self) -> int:
        """Number of rows of which the model reads only the beginning."""

    @property
    def inputs_sha256(self) -> str:
        """SHA-256 over what the model reads, not over targets."""

    def __len__(self) -> int: ...

    def collate(self, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
        """Put the rows ``rows_B``, counted from 0, on ``device``."""

    def take(self, rows: Sequence[int]) -> Self:
        """Return a split of some of the rows, counted from 0, in the order given."""


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """The arrays of a ``TokenisedSplit`` on a device."""

    tokens_S: torch.Tensor
    starts_N1: torch.Tensor
    types_S: torch.Tensor | None
    targets: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class TokenisedSplit:
    """One split as token ids without padding, which takes a tenth of the memory of lists."""

    tokens_S: NDArray[np.int32]
    """Token ids of all rows, special tokens included, one row after another."""
    starts_N1: NDArray[np.int64]
    """Position in ``tokens_S`` where each row starts, and where the last one ends."""
    types_S: NDArray[np.int8] | None = None
    """Which text of a pair each token belongs to; ``None``: the model is not told."""
    targets: NDArray[Any]
    """Targets, one for each row, ``[N]`` or ``[N, C]``; or, where each token has one, ``[S]`` with ``IGNORED``."""
    has_token_targets: bool = False
    """Whether each token has a target of its own."""
    are_next_tokens: bool = False
    """Whether the target of a token is that token itself, which is to be predicted from those before it."""
    pad_id: int
    """Token that batches are padded with."""
    pads_left: bool = False
    """Whether padding comes before the tokens of a row, not behind them."""
    truncated_rows: int
    """Number of rows that had more than ``max_length`` tokens."""
    altered_rows: int = 0
    """Number of conversations of which the chat template leaves out or changes a part."""

    def __len__(self) -> int:
        return len(self.starts_N1) - 1

    @cached_property
    def lengths_N(self) -> NDArray[np.int64]:
        """Number of tokens of each row."""
        return np.diff(self.starts_N1)

    @cached_property
    def n_targets_N(self) -> NDArray[np.int64]:
        """Number of counted targets of each row."""
        if self.has_token_targets:
            counted_S1 = np.concatenate([[0], np.cumsum(self.targets != IGNORED)])
            return np.diff(counted_S1[self.starts_N1])
        return np.full(len(self), self.targets[0].size, dtype=np.int64)

    @cached_property
    def inputs_sha256(self) -> str:
        """SHA-256 over the token ids of all rows, and their types."""
        types = b"" if self.types_S is None else self.types_S.tobytes()
        return hashlib.sha256(self.starts_N1.tobytes() + self.tokens_S.tobytes() + types).hexdigest()

    def row(self, row: int) -> NDArray[np.int32]:
        """Return the token ids of one row, counted from 0."""
        return self.tokens_S[self._places(row)]

    def collate(self, rows_B: NDArray[np.int64], device: torch.device) -> Batch:
        """Put the rows ``rows_B``, counted from 0, on ``device``, padded to the longest of them, and on CUDA a little
        further, so that most batches have the shape of an earlier one.

        All rows lie there from the first time on, so that afterwards only their numbers travel.
        """
        placed = self._placed_on(device if self._n_bytes <= DEVICE_BYTES else torch.device("cpu"))
        rows = to_device(torch.from_numpy(rows_B), placed.starts_N1.device)
        starts_B1, ends_B1 = placed.starts_N1[rows, None], placed.starts_N1[rows + 1, None]
        longest = int(self.lengths_N[rows_B].max())
        if device.type == "cuda":
            longest = min(round_up(longest), self._longest)
        firsts_B1 = ends_B1 - longest if self.pads_left else starts_B1
        places_BT = firsts_B1 + torch.arange(longest, device=rows.device)
        is_padding_BT = (places_BT < starts_B1) if self.pads_left else (places_BT >= ends_B1)
        places_BT.masked_fill_(is_padding_BT, 0)

        def padded(values_S: torch.Tensor, padding: int) -> torch.Tensor:
            # not torch.where, which copies a number to the device and waits for that
            return to_device(values_S[places_BT].long().masked_fill_(is_padding_BT, padding), device)

        mask_BT = to_device((~is_padding_BT).long(), device)
        inputs = {"input_ids": padded(placed.tokens_S, self.pad_id), "attention_mask": mask_BT}
        if placed.types_S is not None:
            inputs["token_type_ids"] = padded(placed.types_S, 0)
        targets = padded(placed.targets, IGNORED) if self.has_token_targets else to_device(placed.targets[rows], device)
        first_tokens_B = to_device((starts_B1 - firsts_B1)[:, 0], device) if self.pads_left else None
        return Batch(
            inputs=inputs,
            targets=targets,
            rows_B=to_device(rows, device),
            starts_B=first_tokens_B,
            next_N=self._next_places(targets, rows_B) if self.are_next_tokens else None,
        )

    def take(self, rows: Sequence[int]) -> Self:
        """Return a split of some of the rows, counted from 0, in the order given."""
        places = np.concatenate([np.arange(self.starts_N1[row], self.starts_N1[row + 1]) for row in rows])
        return replace(
            self,
            tokens_S=self.tokens_S[places],
            types_S=None if self.types_S is None else self.types_S[places],
            starts_N1=np.cumsum([0, *self.lengths_N[rows]], dtype=np.int64),
            targets=self.targets[places if self.has_token_targets else np.asarray(rows)],
        )

    def _next_places(self, targets_BT: torch.Tensor, rows_B: NDArray[np.int64]) -> torch.Tensor:
        n_places = int(self.n_targets_N[rows_B].sum())
        if targets_BT.is_cuda:
            n_places = min(round_up(n_places), targets_BT.numel())
        # Sorted to the front, since the device would have to be asked how many there are
        return (next_tokens(targets_BT) == IGNORED).byte().argsort(stable=True)[:n_places]

    @cached_property
    def _longest(self) -> int:
        return int(self.lengths_N.max())

    @cached_property
    def _placed(self) -> dict[torch.device, _Placed]:
        return {}

    def _placed_on(self, device: torch.device) -> _Placed:
        if device not in self._placed:

            def place(values: NDArray[Any]) -> torch.Tensor:
                return to_device(torch.from_numpy(values), device)

            self._placed[device] = _Placed(
                tokens_S=place(self.tokens_S),
                starts_N1=place(self.starts_N1),
                types_S=None if self.types_S is None else place(self.types_S),
                targets=place(self.targets),
            )
        return self._placed[device]

    @property
    def _n_bytes(self) -> int:
        return self.tokens_S.nbytes + self.starts_N1.nbytes + self.targets.nbytes

    def _places(self, row: int) -> slice:
        return slice(self.starts_N1[row], self.starts_N1[row + 1])


def next_tokens(targets_BT: torch.Tensor) -> torch.Tensor:
    """Return the target of the token after each, in the flattened batch; ``IGNORED`` where a row ends."""
    return functional.pad(targets_BT[:, 1:], (0, 1), value=IGNORED).flatten()


def round_up(length: int) -> int:
    """Return the next multiple of 16, or of an eighth to a sixteenth of a ``length`` above 256."""
    multiple = max(16, 1 << max(0, length.bit_length() - 4))
    return -(-length // multiple) * multiple
