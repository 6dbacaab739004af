"""Which studies may have work for a worker; found by indexes, without reading specs or trials."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, null, or_, select

from service.store.leases import IS_OF_SEARCH
from service.store.optuna.tables import UNFINISHED, trials
from service.store.sql.statements import Call, Statement
from service.store.sql.tables import Instant, lease, study_spec

_N_LIVE = select(func.count()).where(lease.c.study_uuid == study_spec.c.uuid, IS_OF_SEARCH).scalar_subquery()
_N_TRIALS = (
    select(func.coalesce(func.max(trials.c.number) + 1, 0))
    .where(trials.c.study_id == study_spec.c.study_id)
    .scalar_subquery()
)
_UNFINISHED = exists().where(trials.c.study_id == study_spec.c.study_id, UNFINISHED)
_HAS_ROOM = or_(study_spec.c.n_parallel.is_(None), study_spec.c.n_parallel > _N_LIVE)
_IS_RUNNING = study_spec.c.state == "running"
_IS_PREPARED = study_spec.c.facts.is_not(null())
_AWAITS_PROBE = or_(
    study_spec.c.facts["awaits_similarity"].as_boolean(), study_spec.c.facts["awaits_step_times"].as_boolean()
)


def _may_go_on() -> ColumnElement[bool]:
    has_one = or_(_UNFINISHED.where(trials.c.state == "WAITING"), study_spec.c.n_trials > _N_TRIALS)
    return and_(_IS_RUNNING, _IS_PREPARED, _HAS_ROOM, or_(has_one, _AWAITS_PROBE))


def _may_be_confirmed() -> ColumnElement[bool]:
    is_over = or_(study_spec.c.state == "stopping", study_spec.c.n_trials <= _N_TRIALS)
    return and_(study_spec.c.confirms, study_spec.c.confirmation.is_(null()), is_over, _HAS_ROOM, ~_UNFINISHED)


def _may_be_scored() -> ColumnElement[bool]:
    is_over = or_(study_spec.c.state == "stopping", study_spec.c.n_trials <= _N_TRIALS)
    return and_(~study_spec.c.is_scored, is_over, _N_LIVE == 0, ~_UNFINISHED)


_WITH_WORK = Statement(
    select(study_spec.c.study_id, study_spec.c.uuid)
    .where(
        or_(_IS_RUNNING, study_spec.c.state == "stopping"),
        or_(
            and_(~_IS_PREPARED, _N_LIVE == 0),
            and_(_IS_RUNNING, study_spec.c.deadline <= bindparam("now", type_=Instant())),
            _may_go_on(),
            _may_be_confirmed(),
            _may_be_scored(),
        ),
    )
    .order_by(_N_LIVE, study_spec.c.created_at, study_spec.c.study_id)
)


def studies_with_work(now: datetime) -> Call[list[tuple[int, str]]]:
    """Ask for ids and UUIDs of studies that may have work, those with the fewest live leases first, then the oldest.

    Every study that has work is among them. One of them may have none, as when its ``device_seconds`` are used up.

    Args:
        now: About the present, for studies whose time is over.
    """
    return _WITH_WORK.then(lambda rows: [(row.study_id, row.uuid) for row in rows], now=now)
