from pathlib import Path

import pytest

from spezia.common.devices import find_gpus, parse_gpus


def test_gpus_are_those_the_operator_has_chosen(tmp_path: Path) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "2, 3"}, tmp_path) == ["2", "3"]
    assert find_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []
    assert find_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == []


def test_gpus_are_counted_by_the_driver_where_nvidia_smi_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus({}, tmp_path / "none") == []
    for address in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    assert find_gpus({}, tmp_path / "gpus") == ["0", "1"]


def test_slices_of_a_gpu_count_as_gpus() -> None:
    listing = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 3g.40gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""
    assert parse_gpus(listing) == ["MIG-1111", "MIG-2222", "1"]
