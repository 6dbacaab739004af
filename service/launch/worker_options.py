"""What every worker of a launcher is told on its command line, wherever it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Options of `spezia-worker` that a service's settings decide."""

    server: str
    data_roots: Sequence[Path] = ()
    allow_scripts: Sequence[Path] = ()
    checkpoint_dir: Path | None = None
    """Where interrupted trials wait to go on; absent: each worker's own choice."""
    checkpoint_bytes: int | None = None
    """What ``checkpoint_dir`` may hold; absent: the workers' own choice."""
    cache_dir: Path | None = None
    """Where workers share what they can compute again; absent: each worker's own choice."""
    cache_bytes: int | None = None
    """What ``cache_dir`` may hold; absent: the workers' own choice."""

    def arguments(self) -> list[str]:
        """Return the arguments of a worker's command line that these options make."""
        arguments = ["--server", self.server, "--exit-with-parent"]
        for root in self.data_roots:
            arguments += ["--data-root", str(root.absolute())]
        for folder in self.allow_scripts:
            arguments += ["--allow-scripts", str(folder.absolute())]
        if self.checkpoint_dir:
            arguments += ["--checkpoint-dir", str(self.checkpoint_dir.absolute())]
        if self.checkpoint_bytes is not None:
            arguments += ["--checkpoint-bytes", str(self.checkpoint_bytes)]
        if self.cache_dir:
            arguments += ["--cache-dir", str(self.cache_dir.absolute())]
        if self.cache_bytes is not None:
            arguments += ["--cache-bytes", str(self.cache_bytes)]
        return arguments
