"""What trials have found out about memory is remembered."""

from pathlib import Path

from trainer.model.micro_batch_size import MemoryHints


def test_hint_that_was_cut_short_is_none(tmp_path: Path) -> None:
    MemoryHints(tmp_path).remember("key", 5)
    (file,) = tmp_path.iterdir()
    assert MemoryHints(tmp_path).recall("key") == 5
    file.write_text("")
    assert MemoryHints(tmp_path).recall("key") is None
