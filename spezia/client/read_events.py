"""Events out of a stream of server-sent events."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from spezia.contract.event import Event, Happened

_KINDS = {one.model_fields["kind"].default for one in get_args(Event)}
"""Kinds of events that are known here; a newer service may have more, which are passed over."""


@dataclass(frozen=True)
class Read:
    """What one piece of the stream says."""

    event_id: int
    """Id behind which a reader that comes back goes on."""
    happened: Happened | None
    """The event; ``None``: only the id is told."""


def read_events(lines: Iterable[str]) -> Iterator[Read]:
    """Yield what the lines of a stream say, event by event; what a broken stream leaves unfinished is dropped.

    Raises:
        ValueError: It is no stream of a service.
    """
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "id" in fields:
                yield _read(fields)
            fields = {}
            continue
        name, _, value = line.partition(":")
        fields[name] = value.removeprefix(" ")  # a comment has no name


def _read(fields: dict[str, str]) -> Read:
    event_id, kind = int(fields["id"]), fields.get("event", "")
    if kind not in _KINDS:
        return Read(event_id, None)
    payload = json.loads(fields["data"])
    told = {"event_id": event_id, "study": payload.pop("study"), "event": {"kind": kind, **payload}}
    return Read(event_id, Happened.model_validate_json(json.dumps(told)))
