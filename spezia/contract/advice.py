"""Advice on a study: changes of its spec that a program can make, each with the reason in words."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from spezia.contract.study_spec import StudySpec
from spezia.contract.wire import Name, Reply, Wire


class Change(Reply):
    """A new value for one field of a spec."""

    field: Annotated[str, Field(max_length=1000)]
    """Path of the field in the spec, such as ``search_space.learning_rate.high``; a part that is a number counts the
    entries of a list, from 0."""
    value: Any
    """New value of the field; null takes the field out of the spec, so that it has its default, if it has one."""


class Advice(Reply):
    """One thing to change in the spec of a study, for the next study or before this one starts."""

    sentence: str
    """What was found, and what to do about it; it is one of the ``warnings`` too."""
    changes: list[Change]
    """Changes of the spec that do it, to be made together; the service has checked that it would accept the result."""


class StudyClone(Wire):
    """A new study from the spec of another one, with changes."""

    name: Name | None = None
    """Unique name of the new study; when absent, the service makes one up."""
    changes: Annotated[list[Change], Field(max_length=100)] = []
    """Changes of the spec, made one after another, such as those of a piece of advice."""


class NoSuchField(LookupError):
    """A change names a field of a spec that cannot be there; the message is the field."""


def with_changes(spec: StudySpec, changes: Iterable[Change]) -> StudySpec:
    """Return a spec with ``changes`` made.

    Raises:
        ValidationError: The changed spec is none.
        NoSuchField: A change names a field that cannot be there.
    """
    body = spec.model_dump()
    for change in changes:
        try:
            _make(body, change)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise NoSuchField(change.field) from None
    return StudySpec.model_validate(body)


def _make(body: Any, change: Change) -> None:
    *folders, last = change.field.split(".")
    parent = body
    for part in folders:
        parent = parent[_key(parent, part)]
    if change.value is None:
        parent.pop(last, None)
    else:
        parent[_key(parent, last)] = change.value


def _key(parent: Any, part: str) -> str | int:
    return int(part) if isinstance(parent, list) else part
