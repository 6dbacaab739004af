"""A study whose trials pause at rungs, and workers that save a checkpoint when they are told to pause."""

from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker, spec

Loss = Callable[[int, int], float]
"""Value of a trial, by its number, at a step."""


def rungs_spec(
    *,
    eta: int = 2,
    first: int | None = 1,
    top: int = 1,
    epochs: int = 4,
    validation_share: float | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A valid study definition of four trials of four steps, with rungs at steps 1 and 2."""
    left_open = {"first": first, "validation_share": validation_share}
    options = {"eta": eta, "top": top} | {name: one for name, one in left_open.items() if one is not None}
    return spec(pruner={"name": "rungs", "options": options}, n_trials=4, fixed={"epochs": epochs}) | changes


class RungWorker(HandWorker):
    """A worker that keeps the checkpoint of each trial that it was told to pause, and offers all of them."""

    def __init__(self, http: TestClient, *, versions: dict[str, str] | None = None) -> None:
        super().__init__(http, versions=versions)
        self.checkpoints: dict[int, dict[str, Any]] = {}
        self.speed: dict[str, float | None] | None = None
        """What it says to have measured when it pauses a trial."""
        self.n_steps = 0
        """Steps that were trained, all trials together."""

    def ask(self) -> dict[str, Any] | None:
        """One assignment; ``None`` if there is none for this worker."""
        found = self.dispatch(checkpoints=list(self.checkpoints.values()))
        return found[0] if found else None

    def train(self, held: dict[str, Any], loss: Loss) -> str:
        """Train an assignment until it is told to pause, or to its end; return how it ended."""
        number, begun_at = held["number"], held["resume"]["step"] if held["resume"] else 0
        last = held["evaluate_at"][-1]
        for step in (one for one in held["evaluate_at"] if one > begun_at):
            is_partial = str(step) in held["partial_at"]
            answer = self.report(held, step, loss(number, step), final=step == last, partial=is_partial)
            if answer["directive"] == "pause":
                self.n_steps += step - begun_at
                self.checkpoints[number] = {
                    "study_id": held["study_id"], "number": number, "attempt": held["attempt"], "step": step
                }  # fmt: skip
                assert self.release(held, "paused", speed=self.speed).status_code == 204
                return "paused"
        self.n_steps += last - begun_at
        self.checkpoints.pop(number, None)
        assert self.finish(held).status_code == 200
        return "complete"

    def work(self, loss: Loss) -> list[tuple[int, str]]:
        """Work until there is nothing left to do; return what became of each assignment, in order."""
        done = []
        while (held := self.ask()) is not None:
            done.append((held["number"], self.train(held, loss)))
        return done
