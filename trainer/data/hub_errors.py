"""Errors of the hub's own libraries, and what they mean to a user."""

import httpx2
from huggingface_hub.errors import HfHubHTTPError

HUB_ERRORS = (OSError, ValueError, HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL)
"""Errors that the hub's libraries raise for an unknown name, a refusal, or for want of a connection. They pass on what
httpx2 raises where a proxy refuses or an address in ``HTTPS_PROXY`` makes no sense, which is no ``OSError``."""


def describe_hub_error(error: Exception) -> str:
    """Return the first line of what one of ``HUB_ERRORS`` says, and where to look when it comes from the network."""
    said = str(error).strip().split("\n")[0] or type(error).__name__
    if isinstance(error, httpx2.ProxyError | httpx2.InvalidURL):
        return f"{said} (from the proxy: check HTTPS_PROXY and NO_PROXY of the worker)"
    return said
