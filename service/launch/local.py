"""How `spezia serve` starts the workers of its machine."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spezia.contract.key import KEY_VARIABLE

WORKER_PROGRAM = (sys.executable, "-P", "-m", "trainer.cli")
"""``-P`` keeps the current folder off the module path."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """How each worker is started."""

    server: str
    data_roots: Sequence[Path]
    allow_scripts: Sequence[Path] = ()
    gpus: Sequence[str]
    """Values of ``CUDA_VISIBLE_DEVICES``, dealt out in turn; none: workers compute on the CPU."""
    n_workers: int
    checkpoint_dir: Path | None = None
    """Where interrupted trials wait to go on; absent: each worker's own choice."""
    checkpoint_bytes: int | None = None
    """What ``checkpoint_dir`` may hold; absent: the workers' own choice."""
    cache_dir: Path | None = None
    """Where workers share what they can compute again; absent: each worker's own choice."""
    cache_bytes: int | None = None
    """What ``cache_dir`` may hold; absent: the workers' own choice."""
    program: Sequence[str] = WORKER_PROGRAM
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Environment of each worker, to which its key is added: a command line is for all to see."""

    def command(self, worker_id: str) -> list[str]:
        """Return the command line of one worker."""
        command = [*self.program, "--server", self.server, "--worker-id", worker_id, "--exit-with-parent"]
        command += ["--threads", str(self._threads())]
        for root in self.data_roots:
            command += ["--data-root", str(root.absolute())]
        for folder in self.allow_scripts:
            command += ["--allow-scripts", str(folder.absolute())]
        if self.checkpoint_dir:
            command += ["--checkpoint-dir", str(self.checkpoint_dir.absolute())]
        if self.checkpoint_bytes is not None:
            command += ["--checkpoint-bytes", str(self.checkpoint_bytes)]
        if self.cache_dir:
            command += ["--cache-dir", str(self.cache_dir.absolute())]
        if self.cache_bytes is not None:
            command += ["--cache-bytes", str(self.cache_bytes)]
        return command

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        """Return the environment of the worker in ``slot``, with its key."""
        visible = self.gpus[slot % len(self.gpus)] if self.gpus else ""
        return {**self.environment, "CUDA_VISIBLE_DEVICES": visible, KEY_VARIABLE: key}

    def _threads(self) -> int:
        # beside a GPU the threads only feed it; without one, two workers of one thread beat one of two
        return max(1, min(4, (os.cpu_count() or 1) // self.n_workers)) if self.gpus else 1
