"""The README tells the truth: its settings, its tree, its commands."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from service.settings import Settings
from spezia.cli.main import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_in_the_readme(field: str) -> None:
    assert f"`SPEZIA_{field.upper()}`" in README


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?<=spezia )(\w+)(?= )", README))))
def test_every_command_exists(command: str) -> None:
    assert command in get_command(app).commands


NAMED_TESTS = sorted(set(re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text())))


@pytest.mark.parametrize(("file", "test"), NAMED_TESTS)
def test_every_test_that_the_security_page_names_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / file).read_text()


def test_the_security_page_answers_all_ten_each_with_a_test() -> None:
    answers = re.split(r"\n### (API\d+) ", (ROOT / "docs" / "security.md").read_text())[1:]
    assert answers[::2] == [f"API{number}" for number in range(1, 11)]
    assert all("`tests/" in answer for answer in answers[1::2])
