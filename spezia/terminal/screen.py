"""The one door to the terminal: what others have written is shown as text, whatever it holds.

Names, labels, log lines and messages come from people and programs that a reader need not trust. Here terminal escapes
and marks that turn the direction of writing become visible, and square brackets are never taken for rich's markup.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

from pydantic import BaseModel
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Characters that a terminal obeys instead of showing them; line feed and tab are left as they are."""

PIPE_COLUMNS = 1_000
"""Number of columns where there is no terminal: rows of tables stay whole for `grep` and `awk`."""


def shown(text: str) -> str:
    r"""Return a text as it may stand on a terminal: characters that it would obey become ``\x1b`` and the like.

    A carriage return ends a line, so that what follows hides nothing.
    """
    return _UNSEEN.sub(_escaped, re.sub("\r\n?", "\n", text))


def say(text: str, *, is_error: bool = False, end: str = "\n") -> None:
    """Write a text to the standard output, or to the standard error."""
    stream = sys.stderr if is_error else sys.stdout
    stream.write(shown(text) + end)
    stream.flush()


def print_json(answer: BaseModel, *, is_line: bool = False) -> None:
    """Print a model as one JSON document; ``is_line``: on one line, as streams have it."""
    document = answer.model_dump_json(indent=None if is_line else 2)
    sys.stdout.write(_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", document) + "\n")
    sys.stdout.flush()


class Screen(Console):
    """A terminal, or a file, to which rich prints tables and progress; every text is shown as `shown` has it."""

    def __init__(
        self,
        *,
        file: IO[str] | None = None,
        width: int | None = None,
        is_error: bool = False,
        force_terminal: bool | None = None,
    ) -> None:
        """Open the standard output, the standard error where ``is_error``, or ``file``.

        Args:
            width: Number of columns; absent: as the terminal says.
            force_terminal: Whether ``file`` is treated as a terminal; absent: as it says.
        """
        super().__init__(
            file=file,
            width=width,
            stderr=is_error,
            force_terminal=force_terminal,
            markup=False,
            emoji=False,
            highlight=False,
        )

        if width is None and not self.is_terminal and not self.is_jupyter and "COLUMNS" not in os.environ:
            self.width = PIPE_COLUMNS

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as rich lays it out, as wide as it will be shown."""
        return super().render_str(shown(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what rich would print of a renderable, its texts as `shown` has them."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)

    def print_line(self, text: str, **options: Any) -> None:
        """Print a text that the terminal itself wraps, so that it can be copied whole."""
        self.print(text, soft_wrap=True, **options)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
