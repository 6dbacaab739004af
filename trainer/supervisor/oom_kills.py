"""Asks whether the kernel killed a process of this container for want of memory."""

import re
from pathlib import Path


def count_oom_kills(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how often the out-of-memory killer struck in this process's control group; 0 where nothing says so."""
    return max((_count(file) for file in _files(proc, root)), default=0)


def _files(proc: Path, root: Path) -> list[Path]:
    """The files of version 2 and of version 1; inside a container our own group is mounted at the root."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return []
    files: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            folder, name = root, "memory.events"
        elif "memory" in controllers.split(","):
            folder, name = root / controllers, "memory.oom_control"
        else:
            continue
        files += [folder / group.lstrip("/") / name, folder / name]
    return files


def _count(file: Path) -> int:
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
