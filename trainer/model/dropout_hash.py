"""The arithmetic of dropout masks: a hash that decides about each number, and what is done to the numbers.

The hash is made of 64-bit words, each of which decides about four neighbouring features by 16 bits each. A word is the
key of a row of numbers xor a constant of its column, both well mixed, put through a multiplication, a shift and another
multiplication. What is kept is divided by the share of the 2^16 values that are kept, so that means stay as they
are. All of it is integer arithmetic on the device that trains, the same on each kind of device, and reads nothing back.

B = rows of a micro-batch, N = positions, M = what else there is of each example, such as heads, K = features or keys,
W = words of 4 of them.
"""

import functools
import logging
from importlib.util import find_spec

import torch

_HAS_COMPILER = find_spec("triton") is not None  # it comes with PyTorch for CUDA
if _HAS_COMPILER:
    from trainer.model.dropout_kernel import Drop, DropInOnePass


_LOG = logging.getLogger(__name__)

LANES = 4
"""Numbers that a word decides about."""
_LEVELS = 2**16
"""Values of the bits of a word that decide about one number."""

_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
"""Factors of SplitMix64 (Steele, Lea and Flood 2014)."""
OF_ROW, _OF_POSITION, OF_COLUMN = (
    factor - 2**64 for factor in (0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xF1357AEA2E62A9C5)
)
"""Odd factors that spread counters over 64 bits: the golden ratio, and two of Steele and Vigna (2021)."""
MOST_WORDS = 2**24
"""Words of one row of numbers, at most."""


def drop_numbers(
    values: torch.Tensor,
    keys_BN: torch.Tensor,
    columns_MW: torch.Tensor,
    starts_B: torch.Tensor | None,
    probability: float,
) -> torch.Tensor:
    """Return ``values`` with some set to 0 and the others scaled, so that their mean stays.

    Args:
        values: ``[B, M, N, K]``, or with other dimensions that multiply to these.
        keys_BN: key of each position of each example.
        columns_MW: constant of each word.
        starts_B: column of the first constant, by example; ``None``: 0.
        probability: of being set to 0, rounded to 16 bits.
    """
    n_dropped = min(round(probability * _LEVELS), _LEVELS - 1)
    lowest_kept, scale = n_dropped - _LEVELS // 2, _LEVELS / (_LEVELS - n_dropped)
    drop = _drop_by_kernel if has_kernel(values.device) else _drop
    return drop(values, keys_BN, columns_MW, starts_B, lowest_kept, scale)


@functools.cache
def has_kernel(device: torch.device) -> bool:
    """Whether one kernel drops numbers on ``device``, and the very same ones."""
    if device.type != "cuda" or not _HAS_COMPILER:
        return False
    values = torch.linspace(-3, 3, 2 * 3 * 40 * 70, device=device).view(2, 3, 40, 70)
    keys_BN = mix(torch.arange(2 * 40, device=device)).view(2, 40)
    columns_MW = mix(torch.arange(3 * 18, device=device) + 2**40).view(3, 18)
    try:
        for starts_B in (None, torch.tensor([0, 9], device=device)):
            numbers = values, keys_BN, columns_MW, starts_B, -9_999, 1.25
            if not torch.equal(_drop_by_kernel(*numbers), _drop(*numbers)):
                _LOG.warning("dropout takes several operations: the kernel drops other numbers than it should")
                return False
    except Exception as error:  # whatever a compiler raises, such as that there is no compiler of C
        _LOG.warning("dropout takes several operations: the kernel cannot be compiled: %s", error)
        return False
    return True


def _drop(
    values: torch.Tensor,
    keys_BN: torch.Tensor,
    columns_MW: torch.Tensor,
    starts_B: torch.Tensor | None,
    lowest_kept: int,
    scale: float,
) -> torch.Tensor:
    lanes_BMNK = _lanes(keys_BN, columns_MW, starts_B, values.shape[-1])
    keep = torch.empty(values.shape, device=values.device)
    torch.ge(lanes_BMNK, lowest_kept, out=keep.view(lanes_BMNK.shape))
    keep.mul_(scale)
    return (values * keep).to(values.dtype)


def _drop_by_kernel(
    values: torch.Tensor,
    keys_BN: torch.Tensor,
    columns_MW: torch.Tensor,
    starts_B: torch.Tensor | None,
    lowest_kept: int,
    scale: float,
) -> torch.Tensor:
    drop = Drop(keys_BN, columns_MW, starts_B, lowest_kept, scale, (_MIX_1, _MIX_2))
    dropped: torch.Tensor = DropInOnePass.apply(values, drop)  # type: ignore[no-untyped-call]
    return dropped


def _lanes(
    keys_BN: torch.Tensor, columns_MW: torch.Tensor, starts_B: torch.Tensor | None, n_columns: int
) -> torch.Tensor:
    """Return evenly distributed 16-bit numbers, ``[B, M, N, K]``."""
    words_BMNW = keys_BN[:, None, :, None] ^ columns_MW[:, None]
    words_BMNW.mul_(_MIX_1)
    words_BMNW.bitwise_xor_(words_BMNW >> 32)
    words_BMNW.mul_(_MIX_2)
    lanes_BMNK = words_BMNW.view(torch.int16)[..., :n_columns]
    if starts_B is None:
        return lanes_BMNK
    # The constants begin at the first token of each row; padding takes what is left
    columns_K = torch.arange(n_columns, device=lanes_BMNK.device)
    places_BK = (columns_K - starts_B[:, None]).remainder(n_columns)
    return lanes_BMNK.gather(-1, places_BK[:, None, None].expand_as(lanes_BMNK))


def position_keys(examples_B: torch.Tensor, n_positions: int, starts_B: torch.Tensor | None = None) -> torch.Tensor:
    """Return a key of each position ``[B, N]``, counted from ``starts_B``, by the keys of their examples."""
    positions_N = torch.arange(n_positions, device=examples_B.device)
    places_BN = positions_N[None] if starts_B is None else positions_N - starts_B[:, None]
    return mix(examples_B[:, None] + places_BN * _OF_POSITION)


def mix(words: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser, with shifts that keep the sign, for which torch has no other: that costs a bit of 64."""
    words = (words ^ (words >> 30)) * _MIX_1
    words = (words ^ (words >> 27)) * _MIX_2
    return words ^ (words >> 31)
