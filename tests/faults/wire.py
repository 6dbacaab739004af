"""Real workers with a scripted engine, the real service, and between them a wire on which things go wrong."""

import contextlib
import json
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import uvicorn

from service.app import create_app
from service.files.folder_files import FolderFiles
from service.lifecycle.model_folders import remove_unused_folders
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.trials.show_trial import show_trial
from service.settings import Settings
from service.store.sql.engine import open_engine
from service.store.store import Store
from spezia.contract.study_spec import StudySpec
from tests import fake_engine
from tests.faults.invariants import ENDED, violations
from tests.faults.proxy import Wire, listening
from tests.service.hand_worker import spec
from trainer.cli import engine_command
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.supervisor import Limits, Supervisor, Terminated

NAME = "far"
PATIENCE_SECONDS = 0.5
"""After which a worker takes an answer for lost; really 10 to 60."""
HASTE = 20.0
"""By which pauses between two tries are shorter."""

LIMITS = Limits(wait_seconds=0.1)

Shown = list[tuple[Any, ...]]


class Impatient(httpx2.HTTPTransport):
    """Gives up soon, and ends the worker instead of asking for work when there will be none."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        super().__init__()
        self._is_over = is_over

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/dispatch") and self._is_over():
            raise Terminated("no study left")
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), PATIENCE_SECONDS)
        return super().handle_request(request)


@dataclass(frozen=True)
class Far:
    """A service that listens on a port of loopback."""

    store: Store
    port: int
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_over(self) -> bool:
        return show_study(self.store, NAME).state in ENDED

    def shown(self) -> Shown:
        """All that a person gets to see of each trial but times."""
        study = show_study(self.store, NAME)
        trials = [show_trial(self.store, NAME, number) for number in range(study.spec.n_trials)]
        return [
            (
                one.state,
                one.params,
                one.value,
                one.failure and one.failure.failure_class,
                [(row.step, row.value, row.should_prune) for row in one.intermediate_values],
            )
            for one in trials
        ]

    def check(self) -> None:
        """Assert all invariants."""
        remove_unused_folders(self.store, FolderFiles(self.settings.files))
        engine = open_engine(self.settings.database)
        try:
            found = violations(engine, self.settings.files / "artifacts", is_quiet=True)
        finally:
            engine.dispose()
        assert not found, found


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[Far]:
    app = create_app(settings)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service")
        thread.start()
        try:
            yield Far(app.state.parts.store, listener.getsockname()[1], settings)
        finally:
            server.should_exit = True
            thread.join()


def search(n_trials: int) -> StudySpec:
    """A study whose worker calls every endpoint that a worker has."""
    return StudySpec.model_validate(
        spec(
            name=NAME,
            n_trials=n_trials,
            fixed={"epochs": 2},
            # of all pruners the one that compares with nobody: the order of the trials may change
            pruner={"name": "threshold", "options": {"upper": 5.0}},
            data={"train": "train.csv", "test": "test.csv"},
        )
    )


def engine_on(folder: Path) -> str:
    """What runs the trials: one writes a log and lasts until three heartbeats have passed, one fails, one is bad."""
    long = [{"print": "a line"}, {"evaluate": 0.6}, {"until": str(folder / "heartbeat")}]
    trials = {
        "1": [*long, {"evaluate": 0.4, "final": True}],
        "2": [{"evaluate": 9.0}, {"evaluate": 9.0, "final": True}],
        "3": [{"print": "oh"}, {"evaluate": 0.5}, {"fail": "diverged"}],
        "4": [{"fail": "out_of_memory"}],
    }
    return engine_of(folder, trials)


def engine_of(folder: Path, trials: dict[str, list[dict[str, Any]]]) -> str:
    """The command of an engine that follows a script."""
    script = folder / "script.json"
    script.write_text(json.dumps({"trials": trials}))
    return shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", str(script)])


def run_over(far: Far, faults: Sequence[str], folder: Path, *, n_trials: int) -> Wire:
    """Let one worker run a study over a wire with ``faults``, and let what is late arrive."""
    create_study(far.store, plan_study(search(n_trials)))
    wire = Wire(far.port, faults, folder)
    with listening(wire) as url:
        work(far, url, engine_on(folder))
        wire.flush()
    return wire


def work(
    far: Far,
    url: str,
    engine: str,
    *,
    limits: Limits = LIMITS,
    clock: Callable[[], float] = time.monotonic,
    on_pause: Callable[[], None] = lambda: None,
) -> None:
    """Be a worker until the study is over; ``on_pause`` hears that it waits before it tries again."""

    def sleep(seconds: float) -> None:
        on_pause()
        time.sleep(seconds / HASTE)

    with contextlib.closing(ServiceClient(url, transport=Impatient(far.is_over))) as client:
        command = engine_command(engine, data_roots=[], threads=1)
        worker_id = uuid4().hex
        supervisor = Supervisor(client, command, worker_id=worker_id, limits=limits, clock=clock, sleep=sleep)
        assert supervisor.run() == 0
