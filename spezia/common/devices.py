"""The GPUs of this machine, found without importing torch."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

MAX_CPU_WORKERS = 4
_DRIVER = Path("/proc/driver/nvidia/gpus")


def find_gpus(environment: Mapping[str, str] = os.environ, driver: Path = _DRIVER) -> list[str]:
    """Return one value of ``CUDA_VISIBLE_DEVICES`` per GPU that a worker may use.

    An operator who has set that variable has chosen already. MIG slices count as GPUs.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [] if chosen.strip() == "-1" else [gpu.strip() for gpu in chosen.split(",") if gpu.strip()]
    listed = _ask_nvidia_smi()
    if listed is not None:
        return parse_gpus(listed)
    return [str(index) for index, _ in enumerate(driver.iterdir())] if driver.is_dir() else []


def parse_gpus(listing: str) -> list[str]:
    """Read the output of ``nvidia-smi -L``."""
    gpus: list[str] = []
    for line in listing.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            gpus.append(gpu[1])
        elif found := re.search(r"UUID: (MIG-[^)]+)\)", line):
            # a GPU in MIG mode can be used only through its slices
            if gpus and gpus[-1].isdigit():
                gpus.pop()
            gpus.append(found[1])
    return gpus


def default_n_workers(gpus: list[str]) -> int:
    """One worker per GPU, else one per core, at most four."""
    return len(gpus) or min(MAX_CPU_WORKERS, len(os.sched_getaffinity(0)))


def _ask_nvidia_smi() -> str | None:
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
