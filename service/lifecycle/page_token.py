"""Page tokens: where a page ended, so that the next one begins behind it whatever has changed since."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import TypeVar

from service.errors import Invalid
from spezia.contract.problem import FieldProblem

Key = TypeVar("Key")


def write_token(order: str, key: str, number: int) -> str:
    """Return the token of a page of a list in ``order`` that ended at ``key`` and, among equal keys, ``number``."""
    return base64.urlsafe_b64encode(json.dumps([order, key, number]).encode()).decode().rstrip("=")


def read_token(token: str, order: str, read_key: Callable[[str], Key]) -> tuple[Key, int]:
    """Return where the page before ended: the key that the list is sorted by, and the number that decides ties.

    Args:
        read_key: Makes the key of its text, or raises ``ValueError``.

    Raises:
        Invalid: The token was not made here, or is of a list in another order.
    """
    try:
        written = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        of_order, text, number = written
        if of_order == order and isinstance(text, str) and isinstance(number, int) and abs(number) < 2**31:
            return read_key(text), number
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    message = "is not the next_page_token of a page of this list in this order; leave it out to start again"
    raise Invalid(FieldProblem(field="page_token", message=message))
