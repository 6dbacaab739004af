"""The pages of the project's documentation, and the blocks of code in them."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/README.md"))
)
"""Paths of the pages whose commands are executed, from the root of the repository."""

EXECUTED = ("sh", "bash", "console", "python")
"""Languages of the blocks that are executed as they are printed."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\s`]*)[^`]*$")
_NEEDS = re.compile(r"<!-- needs: (.*?) -->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code between two fences."""

    page: str
    """Path of its page, from the root of the repository."""
    line: int
    """Line of its first fence, from 1."""
    language: str
    """What follows the first fence, or nothing."""
    text: str
    """What stands between the fences."""
    needs: str | None
    """What the comment on the line before says that it needs; ``None`` where there is no such comment."""

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, in their order."""
    lines = (ROOT / page).read_text().splitlines()
    number = 0
    while number < len(lines):
        opening, start = _FENCE.match(lines[number]), number
        number += 1
        if opening is None:
            continue
        while lines[number].strip() != "```":
            number += 1
        mark = _NEEDS.fullmatch(lines[start - 1].strip()) if start else None
        yield Block(
            page=page,
            line=start + 1,
            language=opening["language"],
            text=textwrap.dedent("\n".join(lines[start + 1 : number])) + "\n",
            needs=mark and mark[1],
        )
        number += 1


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
"""All blocks of all pages."""
