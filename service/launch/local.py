"""How `spezia serve` starts the workers of its machine."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.launch.worker_options import WorkerOptions
from spezia.contract.key import KEY_VARIABLE

WORKER_PROGRAM = (sys.executable, "-P", "-m", "trainer.cli")
"""``-P`` keeps the current folder off the module path."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlan(WorkerOptions):
    """How each worker is started."""

    gpus: Sequence[str]
    """Values of ``CUDA_VISIBLE_DEVICES``, dealt out in turn; none: workers compute on the CPU."""
    n_workers: int
    program: Sequence[str] = WORKER_PROGRAM
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    """Environment of each worker, to which its key is added: a command line is for all to see."""

    def command(self, worker_id: str) -> list[str]:
        """Return the command line of one worker."""
        options = ["--worker-id", worker_id, "--threads", str(self._threads())]
        return [*self.program, *self.arguments(), *options]

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        """Return the environment of the worker in ``slot``, with its key."""
        visible = self.gpus[slot % len(self.gpus)] if self.gpus else ""
        return {**self.environment, "CUDA_VISIBLE_DEVICES": visible, KEY_VARIABLE: key}

    def _threads(self) -> int:
        # beside a GPU the threads only feed it; without one, two workers of one thread beat one of two
        return max(1, min(4, (os.cpu_count() or 1) // self.n_workers)) if self.gpus else 1
