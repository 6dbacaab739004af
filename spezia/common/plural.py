"""A number with its noun, as all sentences for people write it."""


def plural(count: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 trial`` or ``1,200 trials``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
