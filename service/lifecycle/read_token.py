"""Page tokens: where a page ended, so that the next one begins behind it whatever has changed since."""

import base64
import binascii
import json

from service.contract.problem import FieldProblem
from service.errors import Invalid

Place = tuple[float, int]
"""What a list is sorted by: a key, and a number that decides among equal keys."""


def read_token(token: str, order: str) -> Place:
    """Return where the page before ended.

    Raises:
        Invalid: The token is none of ours, or of a list in another order.
    """
    try:
        written = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        of_order, key, number = written
        place = (float(key), int(number))
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        of_order, place = None, (0.0, 0)
    if of_order != order:
        message = "is not the next_page_token of a page of this list in this order; leave it out to start again"
        raise Invalid(f"page_token: {message}", [FieldProblem(field="page_token", message=message)])
    return place
