"""Every name of the contract explains itself to a reader who sees nothing else of it.

The docstrings of models and fields are published, so the same sentences stand in `/docs`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

CONTRACT = Path(__file__).parents[3] / "spezia" / "contract"
FILES = sorted(CONTRACT.glob("[!_]*.py"))

SENTENCE = re.compile(r"[A-Z].*?[.:](\n\n|$)", re.DOTALL)
"""A first paragraph that begins with a capital letter and ends with a period, or with a colon before a list."""

LEANING = re.compile(r"(Of|As|So|Absent|Null|Those|These|They|It|Its|The same|None|Without|Beside|From)\b")
"""Beginnings that lean on the name above, such as "Of a trial."."""


def docstrings(path: Path) -> Iterator[tuple[str, str | None]]:
    """Public names of a file with their docstrings: itself, its classes, functions, methods, fields and constants."""
    tree = ast.parse(path.read_text())
    yield path.stem, ast.get_docstring(tree)
    yield from named(tree.body, path.stem)


def named(body: list[ast.stmt], inside: str) -> Iterator[tuple[str, str | None]]:
    for node, below in zip(body, [*body[1:], None], strict=True):
        if is_public(node) and not overrides(node):
            yield f"{inside}.{node.name}", ast.get_docstring(node)
        if isinstance(node, ast.ClassDef) and not is_enumeration(node):
            yield from named(node.body, f"{inside}.{node.name}")
        for target in targets(node):
            if not target.startswith("_") and target != "model_config":
                yield f"{inside}.{target}", text_of(below) or description_in(node)


def is_public(node: ast.stmt) -> TypeGuard[ast.ClassDef | ast.FunctionDef]:
    return isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")


def overrides(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether it is a method whose base has the docstring."""
    return node.name == "without_secrets" and ast.get_docstring(node) is None


def is_enumeration(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases)


def targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [ast.unparse(target) for target in node.targets] if isinstance(node, ast.Assign) else []


def text_of(node: ast.stmt | None) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def description_in(node: ast.stmt) -> str | None:
    """``Field(description=…)`` that is computed, and so read by the test of the OpenAPI schema."""
    return "Described." if "description=" in ast.unparse(node) else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_public_name_has_a_docstring_that_stands_alone(path: Path) -> None:
    wrong = {
        name: docstring
        for name, docstring in docstrings(path)
        if docstring is None or not SENTENCE.match(docstring) or LEANING.match(docstring)
    }
    assert wrong == {}
