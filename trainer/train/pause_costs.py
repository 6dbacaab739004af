"""Remembers what saving and loading took on this machine, to know when training again is cheaper."""


class PauseCosts:
    """Seconds that the last checkpoints of each size took, by powers of two of their bytes."""

    def __init__(self) -> None:
        self._saved: dict[int, float] = {}
        self._loaded: dict[int, float] = {}

    def note_saved(self, size_bytes: int, seconds: float) -> None:
        """Remember how long it took to write a checkpoint."""
        self._saved[size_bytes.bit_length()] = seconds

    def note_loaded(self, size_bytes: int, seconds: float) -> None:
        """Remember how long it took to read a checkpoint."""
        self._loaded[size_bytes.bit_length()] = seconds

    def seconds(self, size_bytes: int) -> float:
        """Return the seconds that writing and reading a checkpoint take together.

        While none was read, reading counts as much as writing; while none of about this size was written, both count
        nothing, so that the first one is written and measured.
        """
        size = size_bytes.bit_length()
        if size not in self._saved:
            return 0.0
        return self._saved[size] + self._loaded.get(size, self._saved[size])
