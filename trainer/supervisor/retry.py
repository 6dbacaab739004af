"""Calls a service that may be away for a while."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainer.supervisor.client import ServiceClient, ServiceUnavailable

GIVE_UP_SECONDS = 1800.0
"""Time without contact after which a worker stops its trial and exits."""
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 10.0

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class OutOfContact(Exception):
    """The service has been out of reach for too long."""


def waits(jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Yield the seconds between one try and the next: doubling, capped, spread so that workers fall out of step."""
    longest = _FIRST_WAIT_SECONDS
    while True:
        yield longest * (0.5 + 0.5 * jitter())
        longest = min(2 * longest, _LONGEST_WAIT_SECONDS)


class Retry:
    """Insists on a call until the service answers."""

    def __init__(
        self,
        client: ServiceClient,
        *,
        give_up_seconds: float = GIVE_UP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._give_up_seconds = give_up_seconds
        self._clock = clock
        self._sleep = sleep

    def insist(self, call: Callable[[], _Result]) -> _Result:
        """Repeat ``call`` while it raises ``ServiceUnavailable``, and return its result; every other error passes.

        Raises:
            OutOfContact: for too long the service answered nothing, or this call never.
        """
        started_at = self._clock()
        for wait in waits():
            try:
                return call()
            except ServiceUnavailable as error:
                _LOG.warning("%s; trying again in %.1f s", error, wait)
                self.check_contact()
                if self._clock() - started_at > self._give_up_seconds:
                    raise OutOfContact(f"no answer for {self._give_up_seconds:.0f} s: {error}") from error
            self._sleep(wait)
        raise AssertionError("waits() never ends")

    def check_contact(self) -> None:
        """Check that the service has answered something of late.

        Raises:
            OutOfContact: it has answered nothing for too long.
        """
        silent = self._client.seconds_without_contact()
        if silent > self._give_up_seconds:
            raise OutOfContact(f"the service has not answered for {silent:.0f} s")
