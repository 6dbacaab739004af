"""What pydantic found wrong with a body, in words for people: what is wrong and what to write instead.

The spellings of other tools are known here: of Optuna, Ray Tune, Weights & Biases and transformers.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any, TypeGuard

from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.wire import FieldError, nearest_name_hint

_VALUE_TYPES = {"bool", "int", "float", "str"}
"""Names of the members of the union of param values in pydantic's paths."""

_MESSAGES = {
    "missing": "is missing; give it",
    "extra_forbidden": "unknown field; drop it",
    "string_type": "must be a text",
    "invalid_key": "is no text, as names are; put it in quotes, and write numbers with a point (0.5), not a comma",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of fields to values",
    "model_attributes_type": "must be a mapping of fields to values",
    "finite_number": "must be a finite number",
    "datetime_type": "must be a date with a time",
    "datetime_from_date_parsing": "must be a date with a time, such as 2026-11-22T12:00:00Z",
    "datetime_parsing": "must be a date with a time, such as 2026-11-22T12:00:00Z",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be less than or equal to {le}",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or fewer",
    "string_pattern_mismatch": "has characters that it may not have; it must match the pattern {pattern}",
    "literal_error": "must be {expected}",
    "json_invalid": "is not JSON: {error}",
}
"""Messages by pydantic's types of errors, filled from an error's context."""

_ANY_RANGE = (
    '{"type": "float", "low": …, "high": …}, {"type": "int", "low": …, "high": …} or '
    '{"type": "categorical", "choices": […]}'
)

_OURS = ("rule", "unknown_field")

SHORTHANDS = {"sampler": "name", "pruner": "name", "model": "name", "data": "train", "objective": "metric"}
"""Fields that people give as a text alone, with the field inside of them that takes it."""

_DISTRIBUTIONS = {
    "uniform": ("float", False),
    "quniform": ("float", False),
    "q_uniform": ("float", False),
    "loguniform": ("float", True),
    "log_uniform": ("float", True),
    "log_uniform_values": ("float", True),
    "qloguniform": ("float", True),
    "randint": ("int", False),
    "int_uniform": ("int", False),
    "lograndint": ("int", True),
    "number": ("float", False),
    "double": ("float", False),
    "real": ("float", False),
    "integer": ("int", False),
}
"""Type and scale of ranges by their names in Optuna, Ray Tune and Weights & Biases."""
_CHOICES = ("choice", "choices", "values", "grid_search", "options")
_LOWS = ("low", "min", "lower", "minimum", "from")
_HIGHS = ("high", "max", "upper", "maximum", "to")


def plain_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Return pydantic's errors in words: the path of each field, what is wrong and what to do, and its value."""
    found: dict[tuple[tuple[str | int, ...], str], Any] = {}
    for error in errors:
        loc = tuple(part for part in error["loc"] if not (isinstance(part, str) and "[" in part))
        if loc and loc[-1] in _VALUE_TYPES and error["type"] in ("bool_type", "int_type", "float_type", "string_type"):
            loc, message = loc[:-1], "must be a number, a text, or true or false"
        else:
            message = plain_message(error)
        found.setdefault((loc, message), error.get("input"))
    return [(loc, message, value) for (loc, message), value in found.items()]


def plain_message(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, in words for people."""
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    if kind in _OURS:
        message: str = error["msg"]
        return message
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    loc = error["loc"]
    if kind in ("union_tag_not_found", "union_tag_invalid", "model_attributes_type", "model_type", "dict_type"):
        return _shape(loc, value, context)
    if kind == "missing" and loc and loc[-1] in ("low", "high", "choices") and isinstance(value, dict):
        return f"is missing; write {_as_range(loc, value)}"
    if kind == "literal_error" and isinstance(value, str):
        known = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"unknown{nearest_name_hint(value, known)}"
    if kind == "string_type" and isinstance(value, bool | int | float | date):
        return "must be a text; put it in quotes"
    template = _MESSAGES.get(kind)
    return "is not what is expected here; see /docs" if template is None else template.format(**context)


def range_from(name: str, value: Any) -> dict[str, Any] | None:
    """Return the range of a parameter that other tools' spelling means; ``None`` where it means none for certain."""
    if isinstance(value, list):
        return _choice(value)
    if not isinstance(value, dict):
        return None
    choices = next((value[name] for name in _CHOICES if isinstance(value.get(name), list)), None)
    if choices is not None:
        return _choice(choices)
    named = [str(value.get(key, ""))[:64].lower().rpartition(".")[2] for key in ("type", "distribution", "name")]
    named += [key for key in value if isinstance(value[key], list) and len(value[key]) == 2]
    kind, is_log = next((_DISTRIBUTIONS[name] for name in named if name in _DISTRIBUTIONS), ("", False))
    pair = next((value[key] for key in value if key in _DISTRIBUTIONS and isinstance(value[key], list)), [None, None])
    low = next((value[name] for name in _LOWS if name in value), pair[0])
    high = next((value[name] for name in _HIGHS if name in value), pair[-1])
    if not (_is_number(low) and _is_number(high)):
        return None
    if "log_uniform" in named:  # of Weights & Biases: exponents of e
        low, high = (float(f"{math.exp(max(-700, min(end, 700))):.3g}") for end in (low, high))
    known = HYPERPARAMETERS.get(name)
    if known is not None and known.type in ("float", "int"):
        kind = known.type
    elif not kind:
        is_float = isinstance(low, float) or isinstance(high, float) or get_close_matches(named[0], ["float"])
        kind = "float" if is_float else "int"
    log = {"log": True} if is_log or value.get("log") is True else {}
    return {"type": kind, "low": low, "high": high} | log


def _choice(values: list[Any]) -> dict[str, Any] | None:
    return {"type": "categorical", "choices": values} if 0 < len(values) <= 64 else None


def _shape(loc: Sequence[str | int], value: Any, context: Mapping[str, Any]) -> str:
    """Say what to write where something is no mapping, or one that does not say which kind it is."""
    last = loc[-1] if loc else ""
    if len(loc) > 1 and loc[0] == "search_space":
        return _range_message(loc, value)
    shorthand = SHORTHANDS.get("objective" if loc and loc[0] == "objective" else str(last))
    if shorthand and isinstance(value, str):
        return f"must be a mapping; write {json.dumps({shorthand: value})}"
    tags = [tag.strip("'") for tag in str(context.get("expected_tags", "")).split(", ") if tag]
    field = str(context.get("discriminator", "name")).strip("'")
    if tags and isinstance(value, dict) and field in value:
        given = str(value[field])[:64]
        ours = next((tag for tag in tags if _bare(tag) == _bare(given)), None)
        return f"unknown {field}; here it is {ours!r}" if ours else f"unknown {field}{nearest_name_hint(given, tags)}"
    if isinstance(value, dict):
        kinds = f": {', '.join(tags)}" if tags else ""
        return f"must have a {field}{kinds}"
    return "must be a mapping of fields to values"


def _bare(name: str) -> str:
    """A name as Optuna's classes have it, too: of ``successive_halving`` and ``SuccessiveHalvingPruner`` the same."""
    return name.lower().replace("_", "").replace("-", "").removesuffix("sampler").removesuffix("pruner")


def _range_message(loc: Sequence[str | int], value: Any) -> str:
    if _is_number(value) or isinstance(value, str | bool):
        return "must be a range; a single value belongs in fixed, or write " + json.dumps(
            {"type": "categorical", "choices": [value]}
        )
    if isinstance(value, dict) and isinstance(value.get("value"), bool | int | float | str):
        return (
            f"must be a range; a single value belongs in fixed: write {json.dumps({str(loc[1]): value['value']})} there"
        )
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        return f"unknown type {value['type'][:64]!r}; write {_as_range(loc, value)}"
    return f"must be a range with a type; write {_as_range(loc, value)}"


def _as_range(loc: Sequence[str | int], value: Any) -> str:
    meant = range_from(str(loc[1]), value)
    text = "" if meant is None else json.dumps(meant)
    if meant is None or len(text) > 200:
        return _ANY_RANGE
    return text


def _is_number(value: Any) -> TypeGuard[float]:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and (isinstance(value, int) or math.isfinite(value))
