"""HTTP/1.1 as uvicorn speaks it, for callers who take their time."""

from asyncio import TimerHandle, Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0
"""For so long a caller may take to send the head of a request, from the opening of its connection or the first byte,
and for so long the rest of a body may stand still that was answered before all of it had come. Other bodies are
`BodyRateMiddleware`'s."""

IDLE_SECONDS = 75
"""For so long a connection may be idle between two requests: longer than a worker keeps one (`KEPT_SECONDS` of
`trainer/supervisor/client.py`), so that no call meets a connection that is just being closed, and as long as nginx
waits. With uvicorn's 5 s most calls of a worker would open a connection, as it renews its leases every 15 s."""


class PatientProtocol(H11Protocol):
    """Closes a connection on which no request begins in time; uvicorn itself would wait for ever."""

    _deadline: TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = IDLE_SECONDS

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request."""
        super().data_received(data)
        is_answered = self.cycle is None or self.cycle.response_complete
        if not is_answered or self.conn.their_state is h11.SEND_BODY:
            self._wait_no_more()
        if is_answered:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._wait_no_more()

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
