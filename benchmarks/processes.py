"""What processes have used of a machine: seconds of the processor, and memory; Linux only."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return the ids of a process and of all that it has started and that still run."""
    started = _read(pid, f"task/{pid}/children").split()
    return [pid, *(below for child in started for below in tree(int(child)))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the seconds of the processor that processes have used, with those of their children that have ended."""
    return sum(map(_cpu_seconds, pids))


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes in MB, in which what they share counts once."""
    return round(sum(map(_share_kb, pids)) / 1000, 1)


def _cpu_seconds(pid: int) -> float:
    # behind the name, which may hold blanks
    fields = _read(pid, "stat").rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def _share_kb(pid: int) -> int:
    """The memory of a process, of which what it shares with others counts in equal parts."""
    return sum(int(line.split()[1]) for line in _read(pid, "smaps_rollup").splitlines() if line.startswith("Pss:"))


def _read(pid: int, name: str) -> str:
    """What the system says of a process; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
