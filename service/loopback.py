"""Which addresses only this machine can reach, and what the others take."""

from ipaddress import ip_address


class NoKeys(RuntimeError):
    """The service was to listen where others reach it, and has no API key that would keep them out."""


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without port, means this machine by a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
