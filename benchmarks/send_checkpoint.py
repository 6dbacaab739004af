"""What it costs to send a checkpoint to another worker through the service, on one machine.

    OMP_NUM_THREADS=1 python benchmarks/send_checkpoint.py [FOLDER]

The service is a process of its own, on SQLite; both workers are this process, each with a folder under FOLDER,
a temporary one by default. Sizes are those of checkpoints of all-MiniLM-L6-v2 (`pause.py`). Prints a JSON line a size,
with the medians of five rounds: seconds on the clock to send and to fetch (with the hash, and put in place so that it
lasts), and seconds of this process on the CPU. The line between machines comes on top: twice the bytes over its
throughput.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx2
import numpy as np

from spezia.contract.assignments import TrialAssignment
from spezia.contract.protocol import HeldLease, WantedCheckpoint
from tests.faults.processes import service_of
from tests.service.sending import Scene
from trainer.supervisor.checkpoint_downloads import fetch_checkpoint
from trainer.supervisor.client import ServiceClient
from trainer.trial.checkpoint_folder import STATE, CheckpointFolder, Marker, begun, commit
from trainer.trial.packed_checkpoint import pack

MEGABYTES = {"lora": 4, "frozen_layers: 4": 44, "full": 143}
ROUNDS = 5


def main(folder: Path) -> None:
    with service_of(folder / "home", f"sqlite:///{folder / 'home' / 'spezia.db'}") as service:
        service.start()
        with httpx2.Client(base_url=service.url, timeout=60) as http, closing(ServiceClient(service.url)) as client:
            for method, megabytes in MEGABYTES.items():
                content = np.random.default_rng(0).bytes(megabytes * 10**6)
                rounds = [send_and_fetch(http, client, folder / f"{method}-{n}", content) for n in range(ROUNDS)]
                medians = {name: round(statistics.median(one[name] for one in rounds), 4) for name in rounds[0]}
                print(json.dumps({"method": method, "megabytes": megabytes, **medians}), flush=True)


def send_and_fetch(http: httpx2.Client, client: ServiceClient, folder: Path, content: bytes) -> dict[str, float]:
    """Let one worker send a checkpoint, and another one fetch it; return the seconds of both."""
    scene, seconds = Scene(http), dict[str, float]()
    wanted = WantedCheckpoint.model_validate_json(json.dumps(scene.ask()))
    holder, receiver = CheckpointFolder(folder / "holder"), CheckpointFolder(folder / "receiver")
    write(holder, wanted, content)
    with measured(seconds, "send"):
        packed = pack(holder, wanted.study_id, wanted.number, wanted.attempt, wanted.step)
        assert packed is not None
        client.upload_checkpoint(wanted, packed.chunks())
    given = TrialAssignment.model_validate_json(json.dumps(scene.receive()))
    lease = HeldLease(lease_id=given.lease_id, token=given.token)
    with measured(seconds, "fetch"):
        fetch_checkpoint(given, receiver, partial(client.fetch_checkpoint, lease))
    http.delete("/v1/studies/feedback").raise_for_status()
    return seconds


def write(folder: CheckpointFolder, wanted: WantedCheckpoint, content: bytes) -> None:
    """Write a checkpoint as an engine does."""
    marker = Marker(
        study_id=wanted.study_id,
        number=wanted.number,
        attempt=wanted.attempt,
        step=wanted.step,
        optimizer_steps=10,
        versions={},
        size_bytes=len(content),
        written_at=time.time(),
    )
    with begun(folder.of_attempt(marker.study_id, marker.number, marker.attempt)) as partial_folder:
        (partial_folder / STATE).write_bytes(content)
        commit(partial_folder, marker)


@contextmanager
def measured(seconds: dict[str, float], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[name] = time.perf_counter() - wall
    seconds[f"cpu_{name}"] = time.process_time() - cpu


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
