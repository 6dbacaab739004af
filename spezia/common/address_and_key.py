"""Addresses and API keys that can be none, whoever listens: no call is needed to refuse them, and none cures them."""

import re
from ipaddress import IPv4Address
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?")
_ALL_DIGITS = re.compile(r"[0-9.]+")
_CARRIED = re.compile(r"[\x21-\x7e]+")


class BadAddress(ValueError):
    """A text is no address of a service; the message says what one looks like."""


class BadKey(ValueError):
    """A text is no API key; the message does not hold it."""


def check_address(url: str) -> None:
    """Refuse what is no address of HTTP.

    Raises:
        BadAddress: it has another scheme than http and https, no host, or a port that there cannot be.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if _ALL_DIGITS.fullmatch(host):
            IPv4Address(host)
        is_good = parts.scheme in ("http", "https") and bool(_NAME.fullmatch(host)) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not _CARRIED.fullmatch(url):
        raise BadAddress(f"{url!r} is no address of a service; write it like http://127.0.0.1:8765")


def check_key(key: str) -> None:
    """Refuse what a header cannot carry.

    Raises:
        BadKey: it holds blanks, line feeds, or characters that are not ASCII.
    """
    if not _CARRIED.fullmatch(key):
        raise BadKey("the API key holds blanks or characters that no key has; copy it again, spz_… and nothing else")
