"""Checks of single values of a row that several tasks share. Each raises ``BadRow``, which says what to do."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.data.rows import BadRow
from trainer.data.tokenise import Text

_LARGEST = float(np.finfo(np.float32).max) ** 0.5 / 2
"""Largest number to learn: the square of twice it, an error where the sign is wrong, is finite in single precision."""


def check_text(value: Any, what: str = "text") -> str:
    """Return ``value`` if it is a string of whole characters; it may be empty.

    Args:
        what: name of the value in messages.

    Raises:
        BadRow: there is no value, or it is none of that kind.
    """
    if not isinstance(value, str):
        found = f"there is no {what}" if value is None else f"the {what} is {value!r}, not a string"
        raise BadRow(f"{found}; fill it in or remove the row")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise BadRow(f"the {what} holds half of a surrogate pair (as in \\ud83d), which is no character; correct it")
    return value


def check_text_or_pair(row: Mapping[str, Any]) -> Text:
    """Return the text of a row, or its pair of texts where the data has such.

    Raises:
        BadRow: one is missing, or no string of whole characters.
    """
    text = check_text(row["text"])
    return (text, check_text(row["text_pair"], "text_pair")) if "text_pair" in row else text


def is_blank(text: Text) -> bool:
    """Whether ``text``, or one of a pair, has nothing but blanks."""
    return not all(part.strip() for part in ((text,) if isinstance(text, str) else text))


def check_label(value: Any, what: str = "label") -> str:
    """Return the name of a class as a string, without blanks around it; a whole number is a name, too.

    Args:
        what: name of the value in messages.

    Raises:
        BadRow: there is no value, or it is none of that kind.
    """
    _check_filled_in(value, what)
    # A float is a measurement, or a class id that a reader has turned into one (1 into 1.0)
    if not isinstance(value, str | int):
        raise BadRow(f"the {what} {value!r} is neither a name nor a whole number; write class names")
    return str(value).strip()


def check_number(value: Any, what: str = "label") -> float:
    """Return a number whose square single precision can hold, as a squared error needs; a string may be one.

    Args:
        what: name of the value in messages.

    Raises:
        BadRow: there is no value, or it is none of that kind.
    """
    _check_filled_in(value, what)
    is_odd = isinstance(value, str) and "_" in value  # Python reads 1_5 as 15, and nobody else does
    if is_odd or isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRow(f"the {what} {value!r} is not a number; correct it")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise BadRow(f"the {what} {value!r} is not a number; correct it") from None
    if not abs(number) <= _LARGEST:
        raise BadRow(f"the {what} {value!r} is too large for single precision, or not finite; correct or rescale it")
    return number


def _check_filled_in(value: Any, what: str) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(f"there is no {what}; fill it in or remove the row")
