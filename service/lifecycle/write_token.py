"""Page tokens: where a page ended."""

import base64
import json


def write_token(order: str, key: str, number: int) -> str:
    """Return the token of a page that ended at ``key`` and, among equal keys, ``number``."""
    return base64.urlsafe_b64encode(json.dumps([order, key, number]).encode()).decode().rstrip("=")
