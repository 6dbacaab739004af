"""Drops numbers on a CUDA device in one pass over them, without a mask in memory.

Which numbers are dropped is decided as in `dropout_hash.py`, whose operations one by one would take three times as
long as PyTorch's own dropout.

B = rows of a micro-batch, M = what else there is of each example, N = positions, K = features or keys, W = words of 4.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

_TILE = 1_024
"""Numbers that a program of the kernel drops."""


@dataclass(frozen=True)
class Drop:
    """Which of some numbers are dropped, and by what the others are multiplied."""

    keys_BN: torch.Tensor
    columns_MW: torch.Tensor
    starts_B: torch.Tensor | None
    """Column that the first constant belongs to, by example; ``None``: 0."""
    lowest_kept: int
    """Smallest 16 bits, with sign, by which a number is kept."""
    scale: float
    factors: tuple[int, int]
    """The two factors of the hash."""

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``values`` ``[B, M, N, K]``, or with fewer dimensions that multiply to these, with some set to 0."""
        values = values.contiguous()
        kept = torch.empty_like(values)
        n_columns = values.shape[-1]
        n_rows = values.numel() // n_columns
        columns = 128 if n_columns > 64 else 32
        rows = _TILE // columns
        _drop[triton.cdiv(n_rows, rows), triton.cdiv(n_columns, columns)](
            values,
            kept,
            self.keys_BN,
            self.columns_MW,
            self.keys_BN if self.starts_B is None else self.starts_B,
            n_rows,
            self.keys_BN.shape[1],
            self.columns_MW.shape[0],
            n_columns,
            self.columns_MW.shape[1],
            self.lowest_kept,
            self.scale,
            *self.factors,
            HAS_STARTS=self.starts_B is not None,
            ROWS=rows,
            COLUMNS=columns,
        )
        return kept


class DropInOnePass(torch.autograd.Function):
    """Drops numbers, and the gradients of those that it dropped."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, drop: Drop) -> torch.Tensor:
        ctx.drop = drop
        return drop.of(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        drop: Drop = ctx.drop
        return drop.of(gradient), None


# One program for all shapes: compiling one for each takes seconds
@triton.jit(  # type: ignore[untyped-decorator]
    do_not_specialize=["n_rows", "N", "M", "K", "W", "lowest_kept", "factor_1", "factor_2"]
)
def _drop(  # type: ignore[no-untyped-def]
    values,
    kept,
    keys_BN,
    columns_MW,
    starts_B,
    n_rows,
    N,
    M,
    K,
    W,
    lowest_kept,
    scale,
    factor_1,
    factor_2,
    HAS_STARTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    is_row = row < n_rows
    inside = is_row[:, None] & (column < K)
    example = row // (N * M)
    feature = column + tl.zeros((ROWS, COLUMNS), dtype=tl.int32)
    if HAS_STARTS:
        start = tl.load(starts_B + example, mask=is_row, other=0).to(tl.int32)
        feature = (feature - start[:, None] + K) % K
    key = tl.load(keys_BN + example * N + row % N, mask=is_row, other=0)
    constant = tl.load(columns_MW + ((row // N) % M * W)[:, None] + feature // 4, mask=inside, other=0)
    word = (key[:, None] ^ constant) * factor_1
    word = (word ^ (word >> 32)) * factor_2
    bits = (word >> (feature % 4 * 16).to(tl.int64)).to(tl.int16)
    place = row.to(tl.int64)[:, None] * K + column
    value = tl.load(values + place, mask=inside, other=0).to(tl.float32)
    value = tl.where(bits >= lowest_kept, value * scale, 0.0)
    tl.store(kept + place, value.to(kept.dtype.element_ty), mask=inside)
