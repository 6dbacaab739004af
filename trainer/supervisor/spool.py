"""Brings reports to the service; none is lost and none overtakes another while it is away."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spezia.contract.protocol import Report, ReportReply, ReportRequest
from trainer.supervisor.client import LeaseLost, ServiceClient, ServiceRefused, ServiceUnavailable
from trainer.supervisor.retry import Retry, waits

_BATCH = 200
"""Number of reports that are sent at a time."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the service says about the reports of one trial, taken together."""

    should_prune: bool = False
    """Whether the trial is to be pruned."""
    is_cancelled: bool = False
    """Whether the trial was cancelled."""
    is_paused: bool = False
    """Whether the trial is to pause."""
    keep_model: bool = False
    """Whether the best model is wanted should the trial end here."""
    reason: str | None = None
    """Why the trial is to be pruned, in words."""


class Spool:
    """The reports of one trial, in order."""

    def __init__(self, client: ServiceClient, retry: Retry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._retry = retry
        self._clock = clock
        self._waiting: list[Report] = []
        self._verdict = Verdict()
        self._waits: Iterator[float] | None = None
        self._try_at = 0.0

    def offer(self, report: Report) -> Verdict:
        """Take a report and send all that wait if the service can be reached; else training goes on.

        Raises:
            LeaseLost: the trial is no longer ours.
            ServiceRefused: the service refuses a report.
        """
        self._waiting.append(report)
        if self._waits is not None and self._clock() < self._try_at:
            return Verdict()
        try:
            verdict = self._send()
        except ServiceUnavailable as error:
            self._waits = self._waits or waits()
            self._try_at = self._clock() + next(self._waits)
            _LOG.warning("%s; %d reports wait, training goes on", error, len(self._waiting))
            return Verdict()
        self._waits = None
        return verdict

    def flush(self, report: Report | None = None) -> Verdict:
        """Take a report, if there is one, and send all that wait, however long it takes.

        Raises:
            LeaseLost: the trial is no longer ours.
            ServiceRefused: the service refuses a report.
            OutOfContact: it took too long.
        """
        if report is not None:
            self._waiting.append(report)
        return self._retry.insist(self._send)

    def _send(self) -> Verdict:
        while self._waiting:
            batch = self._waiting[:_BATCH]
            replies = self._client.report(ReportRequest(reports=batch)).replies
            del self._waiting[: len(batch)]
            self._verdict = _merge(self._verdict, replies)
        return self._verdict


def _merge(verdict: Verdict, replies: list[ReportReply]) -> Verdict:
    if any(reply.directive == "lost" for reply in replies):
        raise LeaseLost(409, None, "another worker has this trial")
    refusal = next((reply.refusal for reply in replies if reply.refusal is not None), None)
    if refusal is not None:
        raise ServiceRefused(refusal.status, refusal.code, refusal.detail)
    pruned = next((reply for reply in replies if reply.should_prune), None)
    return Verdict(
        should_prune=verdict.should_prune or pruned is not None,
        is_cancelled=verdict.is_cancelled or any(reply.directive == "cancel" for reply in replies),
        is_paused=verdict.is_paused or any(reply.directive == "pause" for reply in replies),
        keep_model=replies[-1].keep_model,
        reason=verdict.reason or (pruned.reason if pruned else None),
    )
