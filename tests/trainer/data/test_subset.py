"""A subset keeps the shares of classes, and lies inside a larger one."""

from itertools import pairwise

import numpy as np
import pytest

from trainer.data.subset import subset_rows
from trainer.data.tokenised_split import TokenisedSplit


def split(targets: list[float] | list[int] | list[list[int]]) -> TokenisedSplit:
    n_rows = len(targets)
    return TokenisedSplit(
        tokens_S=np.zeros(n_rows, dtype=np.int32),
        starts_N1=np.arange(n_rows + 1),
        targets=np.array(targets),
        pad_id=0,
        truncated_rows=0,
    )


def test_every_class_keeps_its_share() -> None:
    targets = [0] * 50 + [1] * 20 + [2] * 3
    rows = subset_rows(split(targets), 0.1, seed=0)
    assert [np.array(targets)[rows].tolist().count(label) for label in range(3)] == [5, 2, 1]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize(
    "targets",
    [[row % 3 for row in range(100)], [row / 7 for row in range(100)], [[row % 2, 1] for row in range(100)]],
    ids=["classes", "numbers", "several classes a row"],
)
def test_a_smaller_subset_lies_inside_a_larger_one(targets: list[int]) -> None:
    subsets = [set(subset_rows(split(targets), fraction, seed=3)) for fraction in (0.05, 0.1, 0.3, 0.31, 0.9)]
    assert all(smaller < larger for smaller, larger in pairwise(subsets))
    assert len(subsets[2]) == pytest.approx(30, abs=3)


def test_the_seed_decides_the_rows() -> None:
    rows = split([row % 3 for row in range(100)])
    assert subset_rows(rows, 0.2, seed=1) == subset_rows(rows, 0.2, seed=1)
    assert subset_rows(rows, 0.2, seed=1) != subset_rows(rows, 0.2, seed=2)
