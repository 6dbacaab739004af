"""Uploads that a crash has ended."""

import os
import time
from pathlib import Path

from service.files.disk import ABANDONED_SECONDS, remove_abandoned


def test_what_a_crash_has_left_goes_after_a_day_and_what_is_whole_or_on_its_way_stays(tmp_path: Path) -> None:
    old = time.time() - ABANDONED_SECONDS - 60
    for name in (".file", "whole", ".folder/weights", ".slow/weights"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".young").write_bytes(b"")
    for name in (".file", "whole", ".folder/weights", ".folder", ".slow"):
        os.utime(tmp_path / name, (old, old))
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", ".slow", ".young"}
    remove_abandoned(tmp_path / "none")
