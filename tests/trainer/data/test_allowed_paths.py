"""Files are read under the roots, and nowhere else."""

import re
from pathlib import Path

import pytest

from tests.trainer import tiny
from tests.trainer.data.tables import GOOD, read
from trainer.errors import DataError


def test_missing_file_is_refused_with_the_folders_that_were_tried(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"train.csv under {tmp_path} does not exist")):
        read(tmp_path)


def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path, train="x" * 900 + ".csv")


def test_relative_paths_are_tried_under_each_root_in_turn(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    tiny.write_csv(second / "train.csv", GOOD)
    assert read(first, roots=[first, second]).class_names == ("x", "y")
    tiny.write_csv(first / "train.csv", [(text, label.upper()) for text, label in GOOD])
    assert read(first, roots=[first, second]).class_names == ("X", "Y")
    assert read(first, roots=[first, second], train=str(second / "train.csv")).class_names == ("x", "y")


@pytest.mark.parametrize("name", ["{outside}/train.csv", "../outside/train.csv", "link.csv"])
def test_files_outside_the_roots_are_refused(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    tiny.write_csv(outside / "train.csv", GOOD)
    (root / "link.csv").symlink_to(outside / "train.csv")
    with pytest.raises(DataError, match=f"--data-root {re.escape(str(outside))}"):
        read(root, train=name.format(outside=outside))


def test_a_link_inside_the_roots_is_followed(tmp_path: Path) -> None:
    tiny.write_csv(tmp_path / "data.csv", GOOD)
    (tmp_path / "train.csv").symlink_to(tmp_path / "data.csv")
    assert read(tmp_path).class_names == ("x", "y")
