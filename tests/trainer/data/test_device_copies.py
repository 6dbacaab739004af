"""Copies between host and device, with the device ``meta`` for one that a CPU has not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TaskCase
from tests.trainer.waits import META, count
from trainer.data import device_copies, tokenised_split
from trainer.data.device_copies import copies_on_host, to_device
from trainer.train.prepare import Prepared, prepare

ROWS = np.array([5, 0, 11])


def prepare_case(root: Path, case: TaskCase) -> Prepared:
    case.write(root)
    return prepare(tiny.make_spec(**case.spec(training={"similarity": False})), roots=[root], device=tiny.CPU)


def test_what_is_on_the_device_is_not_copied() -> None:
    there = torch.ones(3)
    assert to_device(there, tiny.CPU) is there


@pytest.mark.parametrize(("group_bytes", "n_copies"), [(2**20, 2), (28, 5), (50, 3)])
def test_copies_on_the_host_are_copies_and_travel_together(
    monkeypatch: pytest.MonkeyPatch, group_bytes: int, n_copies: int
) -> None:
    monkeypatch.setattr(device_copies, "GROUP_BYTES", group_bytes)
    numbers = torch.arange(9, dtype=torch.float32)
    originals = [torch.arange(3), numbers[:1], numbers.view(3, 3).t(), numbers[:4], torch.tensor(7), torch.zeros(0)]
    originals[1].requires_grad_()
    before = [tensor.detach().clone() for tensor in originals]
    copies = copies_on_host(originals)
    for tensor in originals:
        tensor.detach().zero_()
    torch.testing.assert_close(copies, before, atol=0, rtol=0)
    assert not any(copy.requires_grad for copy in copies)
    assert len({copy.untyped_storage().data_ptr() for copy in copies if copy.numel()}) == n_copies


@pytest.mark.parametrize("case", [case for case in CASES if case.id != "images"], ids=lambda case: case.id)
def test_after_the_first_batch_only_the_numbers_of_rows_travel(case: TaskCase, tmp_path: Path) -> None:
    split = prepare_case(tmp_path, case).train
    assert count(lambda: split.collate(ROWS, META)).n_copies > 1
    again = count(lambda: split.collate(ROWS[::-1].copy(), META))
    assert (again.n_copies, again.n_reads) == (1, 0)


@pytest.mark.parametrize("case", [case for case in CASES if case.id != "images"], ids=lambda case: case.id)
def test_a_split_that_a_device_does_not_hold_gives_the_same_batches(
    case: TaskCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = prepare_case(tmp_path, case).train
    whole = split.collate(ROWS, tiny.CPU)
    monkeypatch.setattr(tokenised_split, "DEVICE_BYTES", 0)
    torch.testing.assert_close(vars(split.collate(ROWS, tiny.CPU)), vars(whole), atol=0, rtol=0)
    assert [count(lambda: split.collate(ROWS, META)).n_copies > 1 for _ in range(2)] == [True, True]
