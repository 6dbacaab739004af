"""Page tokens: where a page ended."""

import base64
import json

from service.lifecycle.read_token import Place


def write_token(order: str, place: Place) -> str:
    """Return the token of a page that ended at ``place``."""
    key, number = place
    # repr is exact, and knows infinity, which JSON does not
    return base64.urlsafe_b64encode(json.dumps([order, repr(key), number]).encode()).decode().rstrip("=")
