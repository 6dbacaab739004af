"""Brings what an assignment leaves behind to the service: log lines, the kept model, the outcome."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spezia.contract.assignments import Assignment, ScoreAssignment
from spezia.contract.failure import Failure
from spezia.contract.protocol import HeldLease, Release
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceRefused, ServiceUnavailable
from trainer.supervisor.ending import Ending, outcome_of
from trainer.supervisor.engine_log import EngineLog
from trainer.supervisor.retry import Retry

_LOG_SECONDS = 15.0

_LOG = logging.getLogger(__name__)


class Delivery:
    """Delivers for one assignment under one lease. Every method may raise ``LeaseLost``."""

    def __init__(
        self,
        assignment: Assignment,
        log: EngineLog,
        *,
        client: ServiceClient,
        retry: Retry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._assignment = assignment
        self._lease = HeldLease(lease_id=assignment.lease_id, token=assignment.token)
        self._log = log
        self._client = client
        self._retry = retry
        self._clock = clock
        self._log_at = clock()
        self._unsent_log = ""

    def fetch_model(self, directory: Path) -> None:
        """Fetch the kept model that is to be scored into ``directory``; other assignments need none."""
        if not isinstance(self._assignment, ScoreAssignment):
            return
        for name in self._assignment.model_files:
            self._insist(self._client.fetch_model_file, name, directory / name)

    def pass_on_log(self, at_once: bool = False) -> None:
        """Send new log lines, at once or if the last ones were sent long ago."""
        if not at_once and self._clock() - self._log_at < _LOG_SECONDS:
            return
        self._log_at = self._clock()
        self._unsent_log += self._log.take()
        try:
            self._send_log()
        except ServiceUnavailable:
            _LOG.debug("the log waits for the service")

    def hand_in(self, ending: Ending, directory: Path) -> None:
        """Send the rest of the log, the model if it is wanted, and then the outcome."""
        self._unsent_log += self._log.take()
        if ending.failure:
            self._unsent_log += f"{ending.failure.failure_class}: {ending.failure.message}\n"
        self._retry.insist(self._send_log)
        try:
            if ending.has_model:
                for file in sorted(path for path in directory.rglob("*") if path.is_file()):
                    self._insist(self._client.upload, file, file.relative_to(directory).as_posix())
            self._tell(ending)
        except LeaseLost:
            raise
        except ServiceRefused as refused:
            _LOG.error("the service refused the result: %s", refused)
            failure = Failure(failure_class="exception", message=f"the service refused the result: {refused}")
            bare = replace(ending, failure=failure, facts=None, similarity=None, metrics=None)
            self._tell(replace(bare, row_scores=None, replayed=[]))

    def release_paused(self, ending: Ending, *, has_checkpoint: bool) -> None:
        """Send the rest of the log, and then the notice that the trial is paused."""
        self._unsent_log += self._log.take()
        self._retry.insist(self._send_log)
        released = Release(reason="paused", has_checkpoint=has_checkpoint, speed=ending.speed)
        self._insist(self._client.release, released)

    def _tell(self, ending: Ending) -> None:
        self._insist(self._client.tell, outcome_of(self._assignment.kind, ending))

    def _insist(self, verb: Callable[..., object], *arguments: object) -> None:
        self._retry.insist(lambda: verb(self._lease, *arguments))

    def _send_log(self) -> None:
        if not self._unsent_log:
            return
        try:
            self._client.append_log(self._lease, self._unsent_log)
        except LeaseLost:
            raise
        except ServiceRefused as refused:
            _LOG.error("the service refused log lines: %s", refused)  # they are not worth a trial
        self._unsent_log = ""
