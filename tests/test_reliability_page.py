"""docs/reliability.md: every fault has its row, and every test and checker that it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text()
FAULTS = {f"F{number:02}" for number in (*range(1, 41), *range(43, 58), *range(60, 76))}
ROWS = {cells[1].strip(): cells[2:] for line in PAGE.splitlines() if len(cells := line.split("|")) > 4}


def test_every_fault_has_its_row_and_names_a_test() -> None:
    assert {key for key in ROWS if key.startswith("F")} == FAULTS
    assert [key for key in sorted(FAULTS) if "`test_" not in ROWS[key][2]] == []


def test_every_test_that_the_page_names_exists() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert [name for name in sorted(named) if f"def {name}(" not in sources] == []


def test_every_test_of_a_fault_is_named() -> None:
    found = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_f\d\d_\w+)\(", path.read_text(), re.MULTILINE)
    }
    quick = {name for name in found if "_at_a_" in name}  # a part of the slow one
    assert sorted(found - quick - set(re.findall(r"`(test_\w+)`", PAGE))) == []


def test_every_invariant_names_its_checker() -> None:
    assert [key for key in ROWS if key.startswith("I")] == [f"I{number}" for number in range(1, 17)]
    checker = (ROOT / "tests/faults/invariants.py").read_text() + (ROOT / "tests/faults/world.py").read_text()
    named = re.findall(r"`(?:World\.)?(\w+)`", "".join(ROWS[f"I{number}"][1] for number in range(1, 17)))
    assert [name for name in named if f"def {name}(" not in checker] == []
