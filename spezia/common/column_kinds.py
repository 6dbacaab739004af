"""What the values of one column of a table have in common, and what they seem to be.

The rules are those of the tasks (``trainer/tasks``): a class is a name or a whole number, and 1.0 in JSON is neither.
"""

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spezia.common.plural import plural
from spezia.common.table_head import TableHead
from spezia.contract.preview import ColumnKind

MAX_CHARACTERS = 200
"""Length of the longest value that a preview shows whole."""

_MAX_NAME = 1000
"""Length of the longest name of a column that a study can give."""
_MAX_CLASSES = 20
"""Largest number of different whole numbers that are taken for classes."""
LONGEST_CLASS = 60
"""Length of the longest name that is taken for one of a class."""
FEW_ROWS = 8
"""Number of rows below which it says little that no value occurs twice."""

_HINTS: dict[str, tuple[str, ...]] = {
    "text": ("text", "sentence", "message", "review", "content", "comment", "body", "utterance", "query", "question",
             "tweet", "document", "description", "feedback", "input", "transcript", "headline", "title"),
    "label": ("label", "labels", "category", "class", "target", "intent", "sentiment", "topic", "tag", "tags",
              "emotion", "rating", "stars", "genre", "genres", "score", "output", "answer", "type"),
    "number": ("score", "target", "label", "value", "rating", "similarity", "y", "stars", "price", "relatedness"),
    "tokens": ("tokens", "words", "token"),
    "tags": ("tags", "nertags", "labels", "ner", "pos", "postags", "chunktags", "label", "tag"),
    "image": ("image", "file", "filename", "path", "filepath", "imagepath", "img"),
    "messages": ("messages", "conversation", "conversations", "chat", "dialogue"),
}  # fmt: skip
"""Names by which people call the columns of a task, the likeliest first, without blanks, dashes and capitals."""

_IMAGE = re.compile(r"[^\n]{0,500}\.(png|jpe?g|gif|bmp|webp|tiff?)", re.IGNORECASE)
_LIST_AS_TEXT = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the beginning of a table, and what its values have in common."""

    name: str
    """Name of the column."""
    values: list[Any]
    """Its values, but for those that are null or blank."""
    n_blank: int
    """Number of rows in which it has no value."""
    has_decimal_commas: bool
    """Whether commas may be decimal points, since they do not separate the values of a row."""
    may_be_named: bool
    """Whether a study can name it: no other column has its name, and the name is neither empty nor too long."""

    @cached_property
    def strings(self) -> list[str]:
        """Its values if all of them are strings, without blanks around them; else none."""
        return [each.strip() for each in self.values] if all(isinstance(each, str) for each in self.values) else []

    @cached_property
    def lists(self) -> list[list[Any]]:
        """Its values if all of them are lists; else none."""
        return self.values if all(isinstance(each, list) for each in self.values) else []

    @cached_property
    def numbers(self) -> list[float]:
        """Its values as numbers if all of them are finite numbers; else none."""
        found = [_number(each, self.has_decimal_commas) for each in self.values]
        return [each for each in found if each is not None] if None not in found else []

    @cached_property
    def is_whole(self) -> bool:
        """Whether its values are names of classes that are whole numbers: a fraction, or 1.0 in JSON, is none."""
        return bool(self.numbers) and all(re.fullmatch(r"[+-]?\d+", str(each).strip()) for each in self.values)

    @cached_property
    def n_distinct(self) -> int:
        """Number of different values."""
        return len({_key(each) for each in self.values})

    @cached_property
    def words(self) -> float:
        """Mean number of words of its strings."""
        return sum(len(each.split()) for each in self.strings) / max(1, len(self.strings))

    @cached_property
    def length(self) -> float:
        """Mean number of characters of its strings."""
        return sum(map(len, self.strings)) / max(1, len(self.strings))

    @cached_property
    def separator(self) -> str | None:
        """What separates several classes in its strings; ``None``: they do not seem to hold several."""
        return next((each for each in _SEPARATORS if self._holds_several(each)), None)

    def _holds_several(self, separator: str) -> bool:
        parts = [part.strip() for each in self.strings for part in each.split(separator) if part.strip()]
        n_parts = len(set(parts))
        return (
            bool(parts)
            and any(separator in each for each in self.strings)
            and len(parts) >= 2 * n_parts
            and n_parts < self.n_distinct
            and max(map(len, parts)) <= LONGEST_CLASS
            and sum(len(part.split()) for part in parts) <= 3 * len(parts)
        )

    @cached_property
    def repeats(self) -> bool:
        """Whether its values occur again and again, as those of classes do; in a few rows they need not."""
        n_rows = len(self.values)
        return self.n_distinct <= n_rows / 2 or (n_rows < FEW_ROWS and self.n_distinct < n_rows)

    @cached_property
    def kind(self) -> tuple[ColumnKind, str]:
        """What its values seem to be, and what was found, in a sentence."""
        n_rows, n_distinct = len(self.values), self.n_distinct
        rows = plural(n_rows, "row")
        if not n_rows:
            return "empty", "it holds nothing"
        different = f"{n_distinct} different" if n_distinct < n_rows else "different"
        if self.lists:
            return self._kind_of_lists
        if any(isinstance(each, list | dict) for each in self.values):
            return "other", "its values are lists or objects in some rows and something else in others"
        if self.numbers and not self.is_whole:
            return "number", f"its {n_rows} values are numbers with fractions"
        if self.is_whole:
            if n_distinct <= _MAX_CLASSES and (self.repeats or n_rows < FEW_ROWS):
                return "label", f"it holds {n_distinct} different whole numbers in {rows}"
            return "number", f"it holds {different} whole numbers in {rows}"
        if not self.strings:
            if all(isinstance(each, str | int) for each in self.values) and self.repeats:
                return "label", f"it holds {n_distinct} different names or numbers in {rows}"
            return "other", "its values are of several kinds"
        if all(_IMAGE.fullmatch(each) for each in self.strings):
            return "image", "its values are names of image files"
        return self._kind_of_strings

    @cached_property
    def _kind_of_lists(self) -> tuple[ColumnKind, str]:
        if all(each and all(isinstance(one, dict) for one in each) for each in self.lists):
            if all({"role", "content"} <= set(one) or "tool_calls" in one for each in self.lists for one in each):
                return "messages", "its values are lists of messages with role and content"
            return "other", "its values are lists of objects that lack a role or a content; rename from and value"
        if all(isinstance(one, str | int) for each in self.lists for one in each):
            elements = [str(one) for each in self.lists for one in each]
            n_distinct = len(set(elements))
            if self.length_of_lists >= 4 or len(elements) < 2 * n_distinct:
                return "tokens", f"its values are lists of {self.length_of_lists:.0f} words on average"
            return "labels", f"its values are lists of {n_distinct} different names"
        return "other", "its values are lists of neither names nor words"

    @cached_property
    def length_of_lists(self) -> float:
        """Mean length of its lists."""
        return sum(map(len, self.lists)) / max(1, len(self.lists))

    @cached_property
    def _kind_of_strings(self) -> tuple[ColumnKind, str]:
        n_rows, n_distinct = len(self.strings), self.n_distinct
        rows = plural(n_rows, "row")
        is_short = max(map(len, self.strings)) <= LONGEST_CLASS and self.words <= 4
        texts = f"it holds {n_distinct} different texts of {self.words:.0f} words on average in {rows}"
        if all(_LIST_AS_TEXT.fullmatch(each) for each in self.strings):
            return "other", "its values are lists written as text, which are read as names; give JSONL"
        if self.separator is not None:
            return "labels", f"its values are names of several classes between {self.separator!r}"
        if is_short and self.repeats:
            return "label", f"it holds {n_distinct} different short values in {rows}"
        if is_short and (self.words < 1.5 or n_rows == 1) and not (self.words >= 2):
            return "other", f"it holds {n_distinct} different single words in {rows}, as ids and names do"
        return "text", texts

    def rank(self, role: str) -> int:
        """Return how likely its name is that of a column of this role, 0 the likeliest."""
        plain = plain_name(self.name)
        hints = _HINTS[role]
        if plain in hints:
            return hints.index(plain)
        near = [
            hints.index(each) for each in hints if len(each) > 3 and (plain.startswith(each) or plain.endswith(each))
        ]
        return len(hints) + min(near) if near else 2 * len(hints)

    def is_named_as(self, role: str) -> bool:
        """Whether its name is that of a column of this role."""
        return self.rank(role) < 2 * len(_HINTS[role])


def shown(value: Any) -> str:
    """Return a value of a table as text, cut to `MAX_CHARACTERS`, that any reader of JSON takes."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "…"
    cut = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
    return cut.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes a question mark


def column_of(head: TableHead, number: int) -> Column:
    """Describe one column of a table, counted from 0."""
    name = head.columns[number]
    values = [row[number] for row in head.rows]
    filled = [each for each in values if each is not None and not (isinstance(each, str) and not each.strip())]
    return Column(
        name=name,
        values=filled,
        n_blank=len(values) - len(filled),
        has_decimal_commas=head.separator not in (None, ","),
        may_be_named=0 < len(name) <= _MAX_NAME
        and shown(name[:MAX_CHARACTERS]) == name[:MAX_CHARACTERS]
        and "\0" not in name
        and head.columns.count(name) == 1,
    )


def _number(value: Any, has_decimal_commas: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if "_" in value:
            return None
        if has_decimal_commas and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", value):
            value = value.replace(",", ".")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _key(value: Any) -> str:
    try:
        return value.strip() if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        return "…"


def plain_name(name: str) -> str:
    """Return the name of a column without capitals, blanks, dashes and the like."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
