"""What goes wrong on the way to the hub, for whoever downloads from it by its own libraries."""

import httpx2
from huggingface_hub.errors import HfHubHTTPError

HUB_ERRORS = (OSError, ValueError, HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL)
"""An unknown name, no connection, a refusal. The hub's libraries pass on what httpx2 raises where a proxy refuses or an
address in ``HTTPS_PROXY`` makes no sense, and that is no ``OSError``."""


def describe_hub_error(error: Exception) -> str:
    """Return the first line of what a ``HUB_ERRORS`` says, and where to look when it is the network's."""
    said = str(error).strip().split("\n")[0] or type(error).__name__
    if isinstance(error, httpx2.ProxyError | httpx2.InvalidURL):
        return f"{said} (from the proxy: check HTTPS_PROXY and NO_PROXY of the worker)"
    return said
