"""Sends checkpoints of paused trials to workers that wait for them, off the thread that drives the training.

Imports no torch. Nothing depends on it: a checkpoint that does not come is trained anew by whoever waits for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from queue import SimpleQueue

from spezia.contract.protocol import WantedCheckpoint
from trainer.supervisor.client import ServiceClient, ServiceRefused, ServiceUnavailable
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.packed_checkpoint import PackedCheckpoint, pack

_LOG = logging.getLogger(__name__)


class CheckpointSender:
    """A thread that uploads one checkpoint after the other, each once."""

    def __init__(
        self, client: ServiceClient, folder: CheckpointFolder, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._folder = folder
        self._clock = clock
        self._queue: SimpleQueue[tuple[WantedCheckpoint, float]] = SimpleQueue()
        self._taken: set[str] = set()
        self._bytes_per_second: float | None = None
        """Of the last upload; ``None``: not known."""

    def start(self) -> None:
        """Send what is wanted until this process ends."""
        # in the context of whoever starts it: its log lines name the worker
        threading.Thread(target=copy_context().run, args=(self._run,), name="checkpoints", daemon=True).start()

    def want(self, wanted: WantedCheckpoint) -> None:
        """Send a checkpoint as soon as those before it are sent; each heartbeat may name it again until it has come."""
        if wanted.lease_id not in self._taken:
            self._taken.add(wanted.lease_id)
            self._queue.put((wanted, self._clock() + wanted.within_seconds))

    def send(self, wanted: WantedCheckpoint, until: float) -> None:
        """Send a checkpoint, unless it would come too late or does not fit.

        Args:
            until: time by ``clock`` from which on it is in vain.
        """
        name = f"the checkpoint of trial {wanted.number} of study {wanted.study_id}"
        packed = pack(self._folder, wanted.study_id, wanted.number, wanted.attempt, wanted.step)
        if packed is None:
            _LOG.info("%s is wanted elsewhere, but is not here any more", name)
        elif packed.size_bytes > wanted.max_bytes:
            _LOG.info("%s is wanted elsewhere, but the service has no room for %d bytes", name, packed.size_bytes)
        elif self._is_too_slow(packed, until):
            _LOG.info("%s is wanted elsewhere, but sending it would take too long", name)
        else:
            self._upload(wanted, packed, until, name)

    def _run(self) -> None:
        while True:
            self.send(*self._queue.get())

    def _is_too_slow(self, packed: PackedCheckpoint, until: float) -> bool:
        seconds = packed.size_bytes / self._bytes_per_second if self._bytes_per_second else 0.0
        is_too_slow = self._clock() + seconds >= until
        if is_too_slow:
            self._bytes_per_second = None  # the line may become faster: the next one is tried
        return is_too_slow

    def _upload(self, wanted: WantedCheckpoint, packed: PackedCheckpoint, until: float, name: str) -> None:
        try:
            self._client.upload_checkpoint(wanted, self._measured(packed, until))
        except ServiceUnavailable as error:
            _LOG.warning("%s could not be sent: %s", name, error)
            self._taken.discard(wanted.lease_id)  # if it is still wanted, the next heartbeat says so
        except (ServiceRefused, OSError) as error:
            _LOG.info("%s was not sent: %s", name, error)
        else:
            _LOG.info("%s was sent: %d bytes", name, packed.size_bytes)

    def _measured(self, packed: PackedCheckpoint, until: float) -> Iterator[bytes]:
        """The pieces of a checkpoint, each noted once it is on its way.

        Raises:
            TimeoutError: it takes too long.
        """
        started, n_bytes = self._clock(), 0
        for chunk in packed.chunks():
            if self._clock() >= until:
                raise TimeoutError(f"{n_bytes} of {packed.size_bytes} bytes had gone when it was in vain")
            yield chunk
            n_bytes += len(chunk)
            self._bytes_per_second = n_bytes / max(self._clock() - started, 1e-3)
