"""The client of people: every call, and studies to hold on to."""

import os
import time
from collections.abc import Callable

import httpx2

from spezia.client.address import address
from spezia.client.calls import Calls
from spezia.client.study_handle import StudyHandle
from spezia.contract.study_spec import StudySpec


class Client(Calls):
    """A service, as Python calls it, found where it runs; several threads may share one client.

    Beside handles on studies it has every call of the service; `Calls` says which are repeated, and what they raise.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        *,
        is_patient: bool = True,
    ) -> None:
        """Make a client; it connects with its first call.

        Args:
            url: Where the service listens, such as ``http://127.0.0.1:8765``; absent: what SPEZIA_SERVER says, else
                the service that runs on this machine's home folder, else where `spezia serve` would listen.
            key: API key of the service; absent, that of the environment variable SPEZIA_API_KEY, if any.
            transport: What carries requests instead of the network, in tests.
            sleep: What waits for so many seconds between tries and polls.
            is_patient: Whether to ask again where nobody answers; without, nothing waits for longer than a second.

        Raises:
            CalledWrongly: the address is none of HTTP, or the key holds what no key has.
        """
        super().__init__(url or address(os.environ.get("SPEZIA_SERVER")), key, transport, sleep, is_patient=is_patient)

    def create_study(self, spec: StudySpec) -> StudyHandle:
        """Create a study and start it; the same name and spec again give the study that there is."""
        return StudyHandle(self, self.post_study(spec).name)

    def study(self, name: str) -> StudyHandle:
        """Return a handle on a study that there is.

        Raises:
            SpeziaError: Of the code ``study-not-found`` where there is none.
        """
        return StudyHandle(self, self.get_study(name).name)
