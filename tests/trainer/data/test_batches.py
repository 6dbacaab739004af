"""Which rows train together, and when a trial is evaluated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.batches import WINDOW_BATCHES, epoch_batches, evaluation_steps, steps_per_epoch

lengths = st.lists(st.integers(min_value=1, max_value=512), min_size=1, max_size=400).map(np.asarray)


@given(lengths, st.integers(min_value=1, max_value=70), st.integers(min_value=0, max_value=2**63 - 1))
def test_an_epoch_holds_each_row_once_in_full_batches(lengths_N: np.ndarray, batch_size: int, seed: int) -> None:
    batches = epoch_batches(lengths_N, batch_size, seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths_N)))
    assert len(batches) == steps_per_epoch(len(lengths_N), batch_size)
    sizes = sorted(map(len, batches))
    assert sizes[1:] == [batch_size] * (len(batches) - 1)
    assert sizes[0] == len(lengths_N) - batch_size * (len(batches) - 1)


@given(
    st.integers(min_value=1, max_value=60),
    st.integers(min_value=1, max_value=60),
    st.integers(min_value=1, max_value=5),
)
def test_evaluations_never_fall_on_the_same_step(n_steps: int, per_epoch: int, epochs: int) -> None:
    per_epoch = min(per_epoch, n_steps)
    steps = evaluation_steps(n_steps, per_epoch, epochs)
    assert len(set(steps)) == len(steps) == per_epoch * epochs
    assert steps == sorted(steps)
    assert steps[0] >= 1
    assert [steps[per_epoch * (k + 1) - 1] for k in range(epochs)] == [n_steps * (k + 1) for k in range(epochs)]


def test_evaluations_follow_the_rounded_share_of_an_epoch() -> None:
    assert evaluation_steps(10, 4, 2) == [2, 5, 8, 10, 12, 15, 18, 20]


def test_the_seed_decides_the_order() -> None:
    lengths_N = np.arange(100) % 7 + 1
    first, again, other = (np.concatenate(epoch_batches(lengths_N, 8, seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_batches_hold_rows_of_similar_length_and_come_in_random_order() -> None:
    lengths_N = np.random.default_rng(0).integers(1, 100, size=8 * WINDOW_BATCHES)
    batches = epoch_batches(lengths_N, 8, seed=0)
    padded = sum(len(rows) * lengths_N[rows].max() for rows in batches)
    assert padded < 1.05 * lengths_N.sum()
    longest = [int(lengths_N[rows].max()) for rows in batches]
    assert longest != sorted(longest)


@pytest.mark.parametrize(("n_rows", "batch_size", "n_steps"), [(1, 16, 1), (16, 16, 1), (17, 16, 2)])
def test_the_last_partial_batch_is_a_step(n_rows: int, batch_size: int, n_steps: int) -> None:
    assert steps_per_epoch(n_rows, batch_size) == n_steps
