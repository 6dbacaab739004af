"""The README tells the truth: its settings, its tree, its commands."""

import re
from pathlib import Path

import pytest

from service.cli import app
from service.settings import Settings

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
    names = {known.name or known.callback.__name__ for known in app.registered_commands if known.callback}
    assert command in names
