"""The messages that tell a webhook of an event."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.search.results.ranking import leaders
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.webhooks import WebhookRow
from spezia.contract.webhook import EventType

_ENDED = ("COMPLETE", "PRUNED", "FAIL")
_SUFFIXES: dict[EventType, str] = {"study.changed": "", "trial.finished": "", "best.improved": "_best"}


@dataclass(frozen=True)
class Unsent:
    """A message that is to be posted to a webhook."""

    message_id: str
    """Id of the message, the same however often it is posted."""
    type: EventType
    body: str
    """The message itself, as JSON: ``{type, timestamp, data}``."""


def webhook_messages(tx: Transaction, webhook: WebhookRow, happened: Any) -> list[Unsent]:
    """Return the messages that ``webhook`` wants of a row of `event`; none if its study is gone."""
    study = studies.find_by_uuid(tx, happened.study_uuid)
    if study is None:
        return []
    return [
        Unsent(
            message_id=f"{webhook.webhook_id}_{happened.sequence}{_SUFFIXES[of_type]}",
            type=of_type,
            body=_body(of_type, study, happened),
        )
        for of_type in _types(tx, study, happened, webhook.events)
    ]


def _types(tx: Transaction, study: StudyRow, happened: Any, wanted: Sequence[EventType]) -> list[EventType]:
    found: list[EventType] = []
    if happened.kind == "study":
        found.append("study.changed")
    elif happened.payload["state"] in _ENDED:
        found.append("trial.finished")
        # as of now: of several that were best in turn since, the last is told
        if happened.payload["state"] == "COMPLETE" and "best.improved" in wanted and _leads(tx, study, happened):
            found.append("best.improved")
    return [one for one in found if one in wanted]


def _leads(tx: Transaction, study: StudyRow, happened: Any) -> bool:
    """Whether the trial is the best; of several objectives, whether it is on the Pareto front."""
    return happened.payload["number"] in [one.number for one in leaders(trials.all_of(tx, study), study.spec)]


def _body(of_type: EventType, study: StudyRow, happened: Any) -> str:
    data = {"study": study.name, "study_id": study.uuid, "sequence": happened.sequence, **happened.payload}
    return json.dumps({"type": of_type, "timestamp": happened.at.isoformat(), "data": data})
