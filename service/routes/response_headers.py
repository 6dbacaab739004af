"""Headers that every answer carries, whoever makes it."""

REQUEST_ID = "X-Request-ID"
"""Header of the id by which the service's log names a request; a client may choose it."""

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What keeps browsers from guessing the type of an answer, framing it or sending its address on, and caches from
keeping it."""
