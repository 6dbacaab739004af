"""All statements on `study_spec`: what a study is besides its trials."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter, gt, lt
from typing import Any
from uuid import uuid4

from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    type_coerce,
    update,
)

from service.errors import StudyNotFound
from service.store import events, study_summaries
from service.store.optuna.tables import studies
from service.store.sql.statements import Call, Row, Statement
from service.store.sql.tables import LACKS_CARD, UNANSWERED, event, lease, replay, study_spec, study_summary
from service.store.study_cache import Definition, StudyCache
from service.store.transaction import Transaction
from spezia.contract.confirm import Confirmation
from spezia.contract.event import StudyChanged
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.study import StudyOrder, StudyState
from spezia.contract.study_spec import STORED, StudySpec
from spezia.contract.tasks import Task

log = logging.getLogger(__name__)

ENDED = ("complete", "cancelled", "failed")
"""States of studies that have ended."""

MAX_CHARACTERS = 100_000
"""Length of spec and facts, as JSON, of the longest study from which another one learns."""

_ROW = [one for one in study_spec.c if one.name not in ("spec", "posted_spec", "facts")]
# the facts as text: they are read by pydantic
_FACTS = cast(study_spec.c.facts, Text)
_OF_STUDY = studies.c.study_id == study_spec.c.study_id
_WANTED = select(*_ROW, study_spec.c.spec, _FACTS.label("facts"), studies.c.study_name).join(studies, _OF_STUDY)
_BY_NAME = _WANTED.where(studies.c.study_name == bindparam("name"))
_OVERDUE = (
    select(study_spec.c.uuid)
    .where(study_spec.c.state.in_(("running", "stopping")), study_spec.c.deadline <= bindparam("now"))
    .order_by(study_spec.c.deadline)
)
# spec and facts only where this process does not know them: a spec may be a megabyte long
_IS_KNOWN = study_spec.c.version == bindparam("known")
_WANTED_IF_NEW = select(
    *_ROW,
    case((_IS_KNOWN, null()), else_=study_spec.c.spec).label("spec"),
    case((_IS_KNOWN, null()), else_=_FACTS).label("facts"),
    studies.c.study_name,
).join(studies, _OF_STUDY)
_UNKNOWN = "unknown"
"""No version of a study."""
_BY_ID = Statement(_WANTED_IF_NEW.where(study_spec.c.study_id == bindparam("study_id")))
_BY_UUID = Statement(_WANTED_IF_NEW.where(study_spec.c.uuid == bindparam("uuid")))
_LOCK = select(studies.c.study_id).with_for_update(key_share=True)
_LOCK_BY_ID = Statement(_LOCK.where(studies.c.study_id == bindparam("study_id")))
_LOCK_BY_NAME = Statement(_LOCK.where(studies.c.study_name == bindparam("name")))
_LOCK_BY_UUID = Statement(
    _LOCK.where(
        studies.c.study_id
        == select(study_spec.c.study_id).where(study_spec.c.uuid == bindparam("uuid")).scalar_subquery()
    )
)
_OF_LEASE = select(study_spec.c.study_id).join(lease, lease.c.study_uuid == study_spec.c.uuid)
_HELD = (lease.c.lease_id == bindparam("of_id"), lease.c.token == bindparam("of_token"))
_LOCK_BY_LEASE = Statement(_LOCK.where(studies.c.study_id == _OF_LEASE.where(*_HELD).scalar_subquery()))


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study as one transaction saw it."""

    uuid: str
    study_id: int
    name: str
    owner: str | None
    """Name of the key that created the study; ``None``: it was created without one."""
    spec: StudySpec
    state: StudyState
    ending: StudyState | None
    """The state that a ``stopping`` study will end in."""
    failure: Failure | None
    facts: Facts | None
    test_metrics: dict[str, float] | None
    is_scored: bool
    confirmation: Confirmation | None
    """What runs under fresh seeds have said of the winner; ``None``: it has yet to be confirmed, or is not to be."""
    has_card: bool
    """Whether nothing is left to do about the card of the model of an ended study's winner."""
    warnings: list[str]
    created_at: datetime
    finished_at: datetime | None
    deadline: datetime | None
    """When its ``timeout_seconds`` are up, unless it is paused before; ``None``: never."""
    paused_at: datetime | None
    """Since when it is paused; ``None``: it is not."""
    paused_seconds: float
    """For how long it was paused before that. A pause does not count against ``timeout_seconds``."""

    @property
    def has_ended(self) -> bool:
        """Whether the study has ended, whichever way."""
        return self.state in ENDED


def create(tx: Transaction, spec: StudySpec, warnings: list[str]) -> StudyRow | None:
    """Store a study, in Optuna's tables and in ours; ``None`` if the name is taken."""
    assert spec.name is not None
    try:
        study_id = tx.trials.create_new_study([StudyDirection[one.upper()] for one in spec.directions], spec.name)
    except DuplicatedStudyError:
        return None
    row = {
        "uuid": uuid4().hex,
        "study_id": study_id,
        "owner": tx.viewer.owner if tx.viewer else None,
        "state": "running",
        "is_scored": False,
        "warnings": warnings,
        "created_at": tx.now,
        **_spec_columns(spec, tx.now, paused_seconds=0.0),
    }
    tx.connection.execute(insert(study_spec), row)
    study_summaries.create(tx, row["uuid"])
    known = Definition(
        study_id=study_id,
        uuid=row["uuid"],
        version=row["version"],
        spec=spec,
        facts=None,
        n_characters=len(row["spec"]),
    )
    created = _read(tx.caches.studies, known, tx.connection.execute(_BY_NAME, {"name": spec.name}).one())
    tx.after_commit.append(partial(tx.caches.studies.put, known))
    events.add(tx, created.uuid, created.study_id, StudyChanged(state=created.state))
    tx.make_work()
    return created


def find(tx: Transaction, name: str) -> StudyRow:
    """Read a study by its name.

    Raises:
        StudyNotFound: The service made no study of this name that the viewer may see.
    """
    row = tx.connection.execute(_BY_NAME, {"name": name}).first()
    study = None if row is None else _read(tx.caches.studies, None, row)
    if study is None or not is_visible(tx, study):
        raise StudyNotFound(name)
    return study


def find_by_uuid(tx: Transaction, uuid: str) -> StudyRow | None:
    """Read a study by its own id; ``None`` if there is none."""
    known = tx.caches.studies.get(uuid)
    read = partial(_read, tx.caches.studies, known)
    return tx.ask(_BY_UUID.first(read, uuid=uuid, known=known.version if known else _UNKNOWN))


def by_id(cache: StudyCache, study_id: int) -> Call[StudyRow | None]:
    """Ask for a study by the id that Optuna gave it; ``None`` if there is none.

    Args:
        cache: What this process knows of studies.
    """
    known = cache.get(study_id)
    return _BY_ID.first(partial(_read, cache, known), study_id=study_id, known=known.version if known else _UNKNOWN)


def lock(tx: Transaction, name: str) -> StudyRow:
    """Take a study's lock, then read the study. Every write of a study begins so: one order of locks, and no deadlock.

    Raises:
        StudyNotFound: The service made no study of this name that the viewer may see.
    """
    tx.lock(_LOCK_BY_NAME.rows(name=name))
    return find(tx, name)


def lock_by_uuid(tx: Transaction, uuid: str) -> StudyRow | None:
    """Take a study's lock, then read the study; ``None`` if it has been deleted since its id was read."""
    tx.lock(_LOCK_BY_UUID.rows(uuid=uuid))
    return find_by_uuid(tx, uuid)


def lock_by_id(tx: Transaction, study_id: int) -> StudyRow | None:
    """Take a study's lock, then read the study with all its trials; ``None`` if it has been deleted."""
    tx.lock(_LOCK_BY_ID.rows(study_id=study_id))
    study, _ = tx.ask(by_id(tx.caches.studies, study_id), tx.trials.loading(study_id))
    return study


def lock_by_lease(tx: Transaction, lease_id: str, token: str) -> int | None:
    """Take the lock of the study that a lease belongs to and return the study's id; ``None`` if the lease is stale.

    An id does not say that the lease is good: it may be stale all the same, or become so while we wait for the lock. To
    find, renew or end it under the lock tells.
    """
    known = tx.caches.leases.study_of(lease_id)
    if known is not None:
        tx.lock(_LOCK_BY_ID.rows(study_id=known))
        return known
    study_id = tx.lock_for(_LOCK_BY_LEASE.first(attrgetter("study_id"), of_id=lease_id, of_token=token))
    if study_id is not None:
        tx.caches.leases.put(lease_id, study_id)
    return study_id


def page(
    tx: Transaction,
    limit: int,
    after: tuple[str | datetime, int] | None,
    states: Collection[StudyState],
    tasks: Collection[Task],
    name_contains: str,
    order_by: StudyOrder,
) -> list[StudyRow]:
    """Return up to ``limit`` studies that the viewer may see, in order.

    Args:
        after: Key and ``study_id`` of the last study of the page before; the key is a name or an instant, by
            ``order_by``.
        states: Only studies in these; all if empty.
        tasks: Only studies of these; all if empty.
    """
    key: ColumnElement[Any] = studies.c.study_name if order_by.endswith("name") else study_spec.c.created_at
    number = study_spec.c.study_id
    is_descending = order_by.startswith("-")
    wanted = _visible(tx).order_by(*(one.desc() if is_descending else one for one in (key, number))).limit(limit)
    if after is not None:
        is_behind = lt if is_descending else gt
        wanted = wanted.where(or_(is_behind(key, after[0]), and_(key == after[0], is_behind(number, after[1]))))
    if states:
        wanted = wanted.where(study_spec.c.state.in_(states))
    if tasks:
        wanted = wanted.where(_is_of(tx, tasks))
    if name_contains:
        wanted = wanted.where(studies.c.study_name.contains(name_contains, autoescape=True))
    return [_read(tx.caches.studies, None, row) for row in tx.connection.execute(wanted)]


def finished(
    tx: Transaction, owner: str | None, task: Task, limit: int, names: Collection[str] | None = None
) -> list[StudyRow]:
    """Return up to ``limit`` ended studies of an owner and a task that have COMPLETE trials, the last ended first.

    Args:
        owner: Name of the owner's key; ``None``: studies that were created without one.
        names: Only studies of these names; ``None``: all whose spec and facts are no longer than ``MAX_CHARACTERS``.
    """
    is_short = func.length(study_spec.c.spec) + func.length(_FACTS) <= MAX_CHARACTERS
    wanted = (
        _WANTED.join(study_summary, study_summary.c.study_uuid == study_spec.c.uuid)
        .where(study_spec.c.owner.is_not_distinct_from(owner), study_spec.c.state.in_(ENDED), _is_of(tx, [task]))
        .where(study_summary.c.complete > 0, is_short if names is None else studies.c.study_name.in_(names))
        .order_by(study_spec.c.finished_at.desc(), study_spec.c.study_id.desc())
        .limit(limit)
    )
    return [_read(tx.caches.studies, None, row) for row in tx.connection.execute(wanted)]


def events_between(tx: Transaction, after: int, until: int, limit: int) -> list[Row]:
    """Return up to ``limit`` events of all studies that the viewer may see, each with the name of its study as
    ``study_name``: those behind number ``after``, up to number ``until``, in order.
    """
    of_study = event.c.study_uuid == study_spec.c.uuid
    wanted = select(event, studies.c.study_name).join(study_spec, of_study).join(studies, _OF_STUDY)
    wanted = wanted.where(event.c.sequence > after, event.c.sequence <= until, *_seen_by_viewer(tx))
    return list(tx.connection.execute(wanted.order_by(event.c.sequence).limit(limit)))


def is_visible(tx: Transaction, study: StudyRow) -> bool:
    """Return whether the viewer may see a study."""
    return tx.viewer is None or tx.viewer.sees_all or study.owner == tx.viewer.owner


def counts(tx: Transaction) -> dict[str, int]:
    """Return the number of studies by state."""
    grouped = select(study_spec.c.state, func.count().label("n")).group_by(study_spec.c.state)
    return {row.state: row.n for row in tx.connection.execute(grouped)}


def with_warning(tx: Transaction, beginning: str) -> list[str]:
    """Return the UUIDs of the studies with a warning that begins so, for which the warnings of all are read."""
    rows = tx.connection.execute(select(study_spec.c.uuid, study_spec.c.warnings))
    return [row.uuid for row in rows if any(warning.startswith(beginning) for warning in row.warnings)]


def overdue(tx: Transaction) -> list[str]:
    """Return the UUIDs of the studies that may have work and whose deadline has passed, the longest overdue first."""
    return list(tx.connection.execute(_OVERDUE, {"now": tx.now}).scalars())


def ended_before(tx: Transaction, instant: datetime) -> list[str]:
    """Return the UUIDs of the studies that ended before an instant and whose summary is made, the first ended first."""
    summary = study_spec.join(study_summary, study_summary.c.study_uuid == study_spec.c.uuid)
    wanted = select(study_spec.c.uuid).select_from(summary).order_by(study_spec.c.finished_at, study_spec.c.uuid)
    ended = (study_spec.c.state.in_(ENDED), study_spec.c.finished_at < instant, ~study_summary.c.is_stale)
    return list(tx.connection.execute(wanted.where(*ended)).scalars())


def without_card(tx: Transaction) -> list[str]:
    """Return the UUIDs of ended studies whose winner's model may lack its card."""
    return list(tx.connection.execute(select(study_spec.c.uuid).where(LACKS_CARD)).scalars())


def change(tx: Transaction, study: StudyRow, **columns: Any) -> StudyRow:
    """Change columns of a locked study and read it again."""
    columns |= _clock(tx, study, columns.get("state", study.state))
    stored = {name: _to_column(value) for name, value in columns.items()}
    if "facts" in stored:
        stored["version"] = uuid4().hex
    tx.connection.execute(update(study_spec).where(study_spec.c.uuid == study.uuid).values(**stored))
    tx.make_work()
    changed = find(tx, study.name)
    if changed.state != study.state:
        events.add(tx, study.uuid, study.study_id, StudyChanged(state=changed.state, failure=changed.failure))
        fields = {"study": study.name, "state": changed.state}
        if changed.failure is not None:
            fields |= {"failure_class": changed.failure.failure_class, "failure": changed.failure.message}
        tx.after_commit.append(partial(log.info, "the study is %s", changed.state, extra=fields))
    return changed


def change_spec(tx: Transaction, study: StudyRow, spec: StudySpec) -> StudyRow:
    """Give a locked study another spec, already checked; what was posted stays known beside it."""
    posted = func.coalesce(study_spec.c.posted_spec, study_spec.c.spec)
    columns = _spec_columns(spec, study.created_at, study.paused_seconds)
    return change(tx, study, **columns, posted_spec=posted)


def posted_spec(tx: Transaction, study: StudyRow) -> StudySpec:
    """Read the spec of a study as it was posted, before any change."""
    posted = select(func.coalesce(study_spec.c.posted_spec, study_spec.c.spec)).where(study_spec.c.uuid == study.uuid)
    return StudySpec.model_validate_json(tx.connection.execute(posted).scalar_one(), context=STORED)


def forget(tx: Transaction, study: StudyRow) -> None:
    """Drop a locked study from Optuna's tables and from ours; its leases and files are dropped by others."""
    events.forget_study(tx, study.uuid)
    tx.connection.execute(delete(study_spec).where(study_spec.c.uuid == study.uuid))
    tx.trials.delete_study(study.study_id)


def fine_tuning(tx: Transaction, model: str) -> list[str]:
    """Return the names of the studies that name a model and may yet fine-tune it, of those that the viewer may see.

    These have not ended, or a replay of theirs waits or runs.
    """
    named = _in_spec(tx, "model", "name") == model
    replays = exists().where(replay.c.study_uuid == study_spec.c.uuid, UNANSWERED)
    wanted = select(studies.c.study_name).join(study_spec, _OF_STUDY).where(named, *_seen_by_viewer(tx))
    going_on = wanted.where(or_(study_spec.c.state.not_in(ENDED), replays)).order_by(studies.c.study_name)
    return list(tx.connection.execute(going_on).scalars())


def _is_of(tx: Transaction, tasks: Collection[Task]) -> ColumnElement[bool]:
    return _in_spec(tx, "task").in_(tasks)


def _in_spec(tx: Transaction, *path: str) -> ColumnElement[str]:
    """The text at a path in the spec, which is text, too: PostgreSQL casts it to JSON and SQLite reads it as it is."""
    to_json = type_coerce if tx.connection.dialect.name == "sqlite" else cast
    found: ColumnElement[str] = to_json(study_spec.c.spec, JSON)[path].as_string()
    return found


def _visible(tx: Transaction) -> Select[Any]:
    return _WANTED.where(*_seen_by_viewer(tx))


def _seen_by_viewer(tx: Transaction) -> tuple[ColumnElement[bool], ...]:
    """Conditions that a study meets which the viewer may see."""
    if tx.viewer is None or tx.viewer.sees_all:
        return ()
    return (study_spec.c.owner == tx.viewer.owner,)


def _clock(tx: Transaction, study: StudyRow, state: StudyState) -> dict[str, Any]:
    """What becomes of the clock of a study that is now in ``state``: it stands while the study is paused."""
    if state == "paused":
        return {"paused_at": study.paused_at or tx.now}
    if study.paused_at is None:
        return {}
    paused_seconds = study.paused_seconds + max(0.0, (tx.now - study.paused_at).total_seconds())
    deadline = _deadline(study.created_at, study.spec, paused_seconds)
    return {"paused_at": None, "paused_seconds": paused_seconds, "deadline": deadline}


def _deadline(created_at: datetime, spec: StudySpec, paused_seconds: float) -> datetime | None:
    timeout = spec.timeout_seconds
    return None if timeout is None else created_at + timedelta(seconds=timeout + paused_seconds)


def _to_column(value: Any) -> Any:
    if isinstance(value, Confirmation):
        return value.model_dump_json()
    return value.model_dump(mode="json") if isinstance(value, Facts | Failure) else value


def _spec_columns(spec: StudySpec, created_at: datetime, paused_seconds: float) -> dict[str, Any]:
    """Columns that a spec decides."""
    return {
        "spec": spec.model_dump_json(),
        "n_trials": spec.n_trials,
        "n_parallel": spec.n_parallel,
        "confirms": spec.confirm is not None,
        "deadline": _deadline(created_at, spec, paused_seconds),
        "version": uuid4().hex,
    }


def _read(cache: StudyCache, known: Definition | None, row: Row) -> StudyRow:
    """Make a study of a row, which lacks spec and facts if they are ``known``."""
    known = known or cache.get(row.study_id)
    if known is None or known.version != row.version:
        known = Definition(
            study_id=row.study_id,
            uuid=row.uuid,
            version=row.version,
            spec=StudySpec.model_validate_json(row.spec, context=STORED),
            facts=None if row.facts is None else Facts.model_validate_json(row.facts),
            n_characters=len(row.spec) + len(row.facts or ""),
        )
        cache.put(known)
    return StudyRow(
        uuid=row.uuid,
        study_id=row.study_id,
        name=row.study_name,
        owner=row.owner,
        spec=known.spec,
        state=row.state,
        ending=row.ending,
        failure=None if row.failure is None else Failure(**row.failure),
        facts=known.facts,
        test_metrics=row.test_metrics,
        is_scored=row.is_scored,
        confirmation=None if row.confirmation is None else Confirmation.model_validate_json(row.confirmation),
        has_card=row.has_card,
        warnings=row.warnings,
        created_at=row.created_at,
        finished_at=row.finished_at,
        deadline=row.deadline,
        paused_at=row.paused_at,
        paused_seconds=row.paused_seconds,
    )
