"""Shorthand that a study file may use where only one thing can be meant; the API takes the long form alone."""

from typing import Any

from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.plain_words import SHORTHANDS


def with_shorthand_expanded(document: dict[Any, Any]) -> dict[Any, Any]:
    """Return a study in which each shorthand is written out.

    A text stands for ``{name: …}``, ``{train: …}`` or ``{metric: …}``; a list of values for a categorical range; and
    ``{low: …, high: …}`` for a range of numbers, where the type is known.
    """
    expanded = document | {
        field: {inside: document[field]} for field, inside in SHORTHANDS.items() if isinstance(document.get(field), str)
    }
    objectives = document.get("objective")
    if isinstance(objectives, list):
        expanded["objective"] = [{"metric": one} if isinstance(one, str) else one for one in objectives]
    space = document.get("search_space")
    if isinstance(space, dict):
        expanded["search_space"] = {name: _entry(str(name), entry) for name, entry in space.items()}
    return expanded


def _entry(name: str, entry: Any) -> Any:
    if isinstance(entry, list):
        if any(isinstance(one, dict) for one in entry):
            return [_range(name, one) if isinstance(one, dict) else one for one in entry]
        return {"type": "categorical", "choices": entry}
    return _range(name, entry) if isinstance(entry, dict) else entry


def _range(name: str, entry: dict[Any, Any]) -> dict[Any, Any]:
    if "type" in entry:
        return entry
    if "choices" in entry:
        return {"type": "categorical"} | entry
    ends = [entry.get("low"), entry.get("high")]
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        return entry
    if name in HYPERPARAMETERS:
        kind = HYPERPARAMETERS[name].type
        return {"type": kind} | entry if kind in ("float", "int") else entry
    # two whole numbers of a name that only a script knows may be ends of either type
    return {"type": "float"} | entry if any(isinstance(end, float) for end in ends) else entry
