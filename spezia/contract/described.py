"""The base of models whose fields are described by their docstrings, which are read when somebody asks for them.

pydantic can read them itself (`use_attribute_docstrings`), but does so whenever a class is made: a fifth of the time in
which a program imports the contract, though only the service's `/docs` and `spezia init` show them.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Described(BaseModel):
    """A model whose JSON schema says of each field what its docstring says."""

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Return the docstring of each field that has one, by the field's name."""
        found: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            if base is not Described and issubclass(base, Described):
                found |= _docstrings(base.__module__).get(base.__name__, {})
        return found

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of the model, with its fields' docstrings."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in cls.descriptions().items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of fields in each class of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_of_fields(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(node.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                yield name, inspect.cleandoc(text)
