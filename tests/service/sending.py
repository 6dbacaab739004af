"""A paused trial that is due to go on, a busy worker that holds its checkpoint, and a worker with nothing to do."""

from pathlib import Path
from typing import Any

from service.files.folder_files import FolderFiles
from service.lifecycle.model_folders import remove_dropped_folders
from service.store.store import Store
from tests.service.rung_worker import RungWorker, rungs_spec

CONTENT = b"a checkpoint" * 1000


def falling(number: int, step: int) -> float:
    """A loss by which a lower number is better at every step."""
    return number + 1 / step


class Scene:
    """Trial 0 is paused and due to go on; its holder is busy with trial 1, and another worker has no other work."""

    def __init__(self, http: Any, seconds_per_epoch: float | None = 100.0, name: str = "feedback") -> None:
        self.http = http
        assert http.post("/v1/studies", json=rungs_spec(name=name, n_trials=3)).status_code == 201
        self.holder, self.other = RungWorker(http), RungWorker(http)
        self.holder.prepare()
        self.holder.speed = {"seconds_per_epoch": seconds_per_epoch, "trunk_seconds": None}
        assert self.holder.train(self.holder.take(), falling) == "paused"
        self.busy_with = self.holder.take()
        assert self.other.train(self.other.take(), falling) == "paused"

    def wanted(self) -> list[dict[str, Any]]:
        """The checkpoints for which the holder is asked."""
        return self.holder.wanted(self.busy_with)

    def ask(self) -> dict[str, Any]:
        """Let the other worker ask for work, and return what the holder is to send for that."""
        assert self.other.ask() is None
        [wanted] = self.wanted()
        return wanted

    def send(self, content: bytes = CONTENT) -> None:
        """Let the other worker ask, and the holder send."""
        assert self.holder.send_checkpoint(self.ask(), content).status_code == 204

    def receive(self) -> dict[str, Any]:
        """What another worker than the holder gets to do, which is to go on with trial 0."""
        held = self.other.ask()
        assert held is not None
        assert held["number"] == 0
        return held


def left_files(store: Store, root: Path) -> list[Path]:
    """What is left in the folder of uploaded files once the reaper has been there."""
    remove_dropped_folders(store, FolderFiles(root))
    return [path for path in root.glob("artifacts/*/*") if path.is_file()]
