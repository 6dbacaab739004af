"""What the service does to trials, in Optuna's words, each with the event that tells of it.

The statements themselves are those of `SqlStorage`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial as FrozenTrial  # lifecycle/ knows trials by this door
from optuna.trial import TrialState
from sqlalchemy import Select, delete, exists, func, select

from service.optuna_private import COMPLETED_RUNG, CONSTRAINTS, FIXED_PARAMS, id_of
from service.rung_marks import PARTIAL, PAUSED, PROMOTED, REACHED, Pause, arrivals_of, partial_values_of, pause_of
from service.store import events
from service.store.optuna.frozen import distribution_json, shared_distribution
from service.store.optuna.tables import (
    IS_PAUSED,
    UNFINISHED,
    trial_intermediate_values,
    trial_system_attributes,
    trial_user_attributes,
    trials,
)
from service.store.sql.tables import lease, study_spec
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.event import TrialChanged, ValueReported
from spezia.contract.failure import Failure
from spezia.contract.hyperparameters import param_value
from spezia.contract.outcomes import TrialSpeed
from spezia.contract.pruners import RungsPruner
from spezia.contract.study import TrialCounts
from spezia.contract.study_spec import Params
from spezia.contract.trial import Paused
from spezia.contract.trial import TrialState as StateName
from spezia.contract.warm_start import TakenFrom

FAILURE = "spezia:failure"
"""User attribute of a FAIL trial: its failure. It is one that Optuna's own tools show."""
BASELINE = "spezia:baseline"
"""User attribute of the baseline."""
RETRY_OF = "spezia:retry_of"
"""User attribute of a trial that repeats another one: the number of that one."""
TAKEN_FROM = "spezia:taken_from"
"""User attribute of a trial with the params of a trial of an earlier study: the name of that study, the number of that
trial, and the place of this one among those that were taken, from 0."""

NO_CONSTRAINTS: Mapping[str, float] = MappingProxyType({})
"""Constraints of a study that has none."""

WAITING_SINCE = "spezia:waiting_since"
"""System attribute of a trial that waits, or once did: when it last began to, as ISO 8601 in UTC."""


def add(
    tx: Transaction,
    study: StudyRow,
    state: StateName,
    params: Params,
    distributions: Mapping[str, BaseDistribution],
    *,
    system_attrs: Mapping[str, Any],
    user_attrs: Mapping[str, Any],
) -> FrozenTrial:
    """Write a whole trial at once; its number is the next one."""
    template = FrozenTrial(
        trial_id=-1,
        number=-1,
        state=TrialState[state],
        value=None,
        datetime_start=tx.now.astimezone().replace(tzinfo=None) if state == "RUNNING" else None,
        datetime_complete=None,
        # as they will be read
        params={name: one.to_external_repr(one.to_internal_repr(params[name])) for name, one in distributions.items()},
        distributions={name: shared_distribution(distribution_json(one)) for name, one in distributions.items()},
        user_attrs=json.loads(json.dumps(user_attrs)),
        system_attrs=json.loads(json.dumps({**system_attrs, **(_waiting(tx) if state == "WAITING" else {})})),
        intermediate_values={},
    )
    added = tx.trials.add_trial(study.study_id, template)
    _say(tx, study, added, state)
    return added


def find(tx: Transaction, study: StudyRow, number: int) -> FrozenTrial | None:
    """Return the trial of a number, or ``None``; shared, so not to be changed."""
    seen = all_of(tx, study)
    if number < len(seen) and seen[number].number == number:
        return seen[number]
    return next((trial for trial in seen if trial.number == number), None)


def all_of(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return all trials in the order of their numbers, with what ``tx`` has written; shared, so not to be changed."""
    return tx.trials.shared(study.study_id)


def counts(tx: Transaction, study: StudyRow) -> TrialCounts:
    """Return the number of trials of a study in each state, and of paused ones."""
    by_state = {state.name.lower(): n for state, n in tx.trials.counts(study.study_id).items()}
    return TrialCounts(**by_state, paused=len(paused(tx, study)))


def unfinished(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return the WAITING and RUNNING trials in the order of their numbers; shared, so not to be changed."""
    return tx.trials.unfinished(study.study_id)


def waiting(tx: Transaction, study: StudyRow) -> list[int]:
    """Return the numbers of the WAITING trials that wait for a worker alone, ascending: paused ones are not ready."""
    return [trial.number for trial in _waiting_ones(tx, study) if pause_of(trial) is None]


def paused(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return the trials that are paused, in the order of their numbers; shared, so not to be changed."""
    if not isinstance(study.spec.pruner, RungsPruner):
        return []
    return [trial for trial in _waiting_ones(tx, study) if pause_of(trial) is not None]


def counts_of_open_studies(tx: Transaction) -> dict[str, int]:
    """Return the number of trials by state in all studies that have not ended."""
    grouped = _of_studies("running", "paused", "stopping").with_only_columns(trials.c.state, func.count().label("n"))
    return {row.state: row.n for row in tx.connection.execute(grouped.group_by(trials.c.state))}


def waiting_since(tx: Transaction) -> datetime | None:
    """Return since when the trial has waited for a worker that waits longest in a running study; ``None`` if none does.

    Paused trials wait for their promotion.
    """
    attrs = trial_system_attributes
    wanted = (
        _of_studies("running")
        .with_only_columns(func.min(attrs.c.value_json))
        .join(attrs, (attrs.c.trial_id == trials.c.trial_id) & (attrs.c.key == WAITING_SINCE))
        .where(trials.c.state == "WAITING", ~IS_PAUSED)
    )
    since = tx.connection.execute(wanted).scalar_one()
    return None if since is None else datetime.fromisoformat(json.loads(since))


def n_paused(tx: Transaction) -> int:
    """Return how many trials are paused in all studies that have not ended."""
    wanted = _of_studies("running", "paused", "stopping").where(trials.c.state == "WAITING", IS_PAUSED)
    return int(tx.connection.execute(wanted.with_only_columns(func.count())).scalar_one())


def orphans(tx: Transaction) -> list[tuple[str, int]]:
    """Return the trials of our studies, as study UUID and number, that are RUNNING under no lease: nobody here began
    them.
    """
    # by an index of the unfinished alone: what has finished is not gone through
    unfinished = select(trials.c.study_id, trials.c.number, trials.c.state).where(UNFINISHED).subquery()
    held = (lease.c.study_uuid == study_spec.c.uuid, lease.c.kind == "trial", lease.c.number == unfinished.c.number)
    wanted = (
        select(study_spec.c.uuid, unfinished.c.number)
        .join(unfinished, unfinished.c.study_id == study_spec.c.study_id)
        .where(unfinished.c.state == "RUNNING", ~exists().where(*held))
    )
    return [(row.uuid, row.number) for row in tx.connection.execute(wanted)]


def is_running(trial: FrozenTrial) -> bool:
    """Return whether a trial runs, which a trial under a lease does unless another program has ended it."""
    return trial.state is TrialState.RUNNING


def is_baseline(trial: FrozenTrial) -> bool:
    """Return whether a trial runs the defaults, for comparison."""
    return bool(trial.user_attrs.get(BASELINE))


def taken_from(trial: FrozenTrial) -> TakenFrom | None:
    """Return the trial of an earlier study whose params a trial has; ``None``: there is none."""
    stored = trial.user_attrs.get(TAKEN_FROM)
    return None if stored is None else TakenFrom(study=stored["study"], number=stored["number"])


def passes_rungs(trial: FrozenTrial) -> bool:
    """Return whether a trial never pauses: the baseline, and the first one that was taken from earlier studies."""
    stored = trial.user_attrs.get(TAKEN_FROM)
    return is_baseline(trial) or (stored is not None and stored["place"] == 0)


def start(
    tx: Transaction,
    study: StudyRow,
    trial: FrozenTrial,
    values: Mapping[int, float],
    partial_values: Mapping[int, float],
    *,
    is_judged: bool,
) -> None:
    """Begin a WAITING trial with the intermediate ``values`` that it goes on from, and no others; it is paused no more.

    Args:
        partial_values: What it has reported of a part of the validation rows up to there, by step.
        is_judged: Whether pruners have judged the trial by exactly these values, and may remember it.
    """
    tx.connection.execute(delete(trial_intermediate_values).where(trial_intermediate_values.c.trial_id == id_of(trial)))
    if PAUSED in trial.user_attrs:  # of a trial that another program has enqueued, too: it says nothing of this one
        attrs = trial_user_attributes
        tx.connection.execute(delete(attrs).where(attrs.c.trial_id == id_of(trial), attrs.c.key == PAUSED))
    if not is_judged:
        tx.connection.execute(
            delete(trial_system_attributes).where(
                trial_system_attributes.c.trial_id == id_of(trial),
                trial_system_attributes.c.key.startswith(COMPLETED_RUNG, autoescape=True),
            )
        )
    tx.trials.add_intermediate_values(id_of(trial), values)
    if PARTIAL in trial.system_attrs:
        _set_system_attrs(tx, trial, {PARTIAL: dict(partial_values)})
    tx.trials.set_trial_state_values(id_of(trial), TrialState.RUNNING)
    _say(tx, study, trial, "RUNNING")


def unready(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return the WAITING trials that another program has enqueued, or that lack params; shared, so not to be changed.

    `wished` says what they are to try.
    """
    return [one for one in _waiting_ones(tx, study) if WAITING_SINCE not in one.system_attrs or not one.params]


def wished(trial: FrozenTrial) -> Params:
    """Return the params that another program has enqueued a trial with: any JSON, as nobody has checked them."""
    named = trial.system_attrs.get(FIXED_PARAMS)
    return trial.params | named if isinstance(named, dict) else trial.params


def make_ready(
    tx: Transaction, trial: FrozenTrial, params: Params, distributions: Mapping[str, BaseDistribution]
) -> None:
    """Give a trial of `unready` the params to run with."""
    for name, one in distributions.items():
        tx.trials.set_trial_param(id_of(trial), name, one.to_internal_repr(params[name]), one)
    _set_system_attrs(tx, trial, _waiting(tx))


def put_back(tx: Transaction, study: StudyRow, trial: FrozenTrial) -> None:
    """Let a RUNNING trial wait again, under the same number."""
    tx.trials.set_trial_state_values(id_of(trial), TrialState.WAITING)
    _set_system_attrs(tx, trial, _waiting(tx))
    _say(tx, study, trial, "WAITING")


def reach(tx: Transaction, trial: FrozenTrial, rung: int, value: float) -> None:
    """Note the value of a trial at a rung; what it reported there first stands, as others were ranked by it."""
    before = {str(one): [arrival.value, arrival.at] for one, arrival in arrivals_of(trial).items()}
    here = {str(rung): [value, _now(tx)]}
    _set_system_attrs(tx, trial, {REACHED: here | before})


def promote(tx: Transaction, trial: FrozenTrial, rung: int) -> None:
    """Let a trial go on from a rung; it never pauses there or below again."""
    _set_system_attrs(tx, trial, {PROMOTED: rung + 1})


def tell_to_pause(tx: Transaction, trial: FrozenTrial, rung: int, step: int, attempt: int) -> None:
    """Note that a RUNNING trial pauses at an evaluation; it is paused as soon as its attempt has ended."""
    tx.trials.set_trial_user_attr(id_of(trial), PAUSED, _pause(tx, rung, step, attempt))


def note_pause(
    tx: Transaction, study: StudyRow, number: int, *, has_checkpoint: bool, speed: TrialSpeed | None
) -> None:
    """Note what a worker says that gives up a trial which was told to pause; harmless for any other.

    Args:
        has_checkpoint: Whether anybody will offer a checkpoint of it.
        speed: What was measured of its speed; ``None``: nothing.
    """
    trial = find(tx, study, number)
    pause = None if trial is None or not is_running(trial) else pause_of(trial)
    if trial is not None and pause is not None:
        said = replace(pause, has_checkpoint=has_checkpoint, **({} if speed is None else speed.model_dump()))
        if said != pause:
            tx.trials.set_trial_user_attr(id_of(trial), PAUSED, asdict(said))


def as_if_paused(tx: Transaction, trial: FrozenTrial, rung: int, step: int, attempt: int) -> FrozenTrial:
    """Return a RUNNING trial as it will be once it has paused at an evaluation; nothing is stored."""
    paused = copy(trial)
    paused.state = TrialState.WAITING
    paused.user_attrs = trial.user_attrs | {PAUSED: _pause(tx, rung, step, attempt)}
    return paused


def add_value(tx: Transaction, study: StudyRow, number: int, step: int, value: float) -> FrozenTrial:
    """Store an intermediate value of the trial of a number; return the trial with it, of which `report` tells."""
    before = _found(tx, study, number)
    tx.trials.set_trial_intermediate_value(id_of(before), step, value)
    return _found(tx, study, number)


def add_partial_value(tx: Transaction, study: StudyRow, number: int, step: int, value: float) -> FrozenTrial:
    """Store a value of a part of the validation rows beside the intermediate values; return the trial with it, of which
    `report` tells."""
    before = _found(tx, study, number)
    _set_system_attrs(tx, before, {PARTIAL: partial_values_of(before) | {step: value}})
    return _found(tx, study, number)


def report(
    tx: Transaction,
    study: StudyRow,
    trial: FrozenTrial,
    step: int,
    value: float,
    system_attrs: Mapping[str, Any],
    *,
    partial: bool = False,
) -> None:
    """Tell of a trial's newest value, and store the system attributes in which the pruner remembers it."""
    _set_system_attrs(tx, trial, system_attrs)
    told = ValueReported(number=trial.number, step=step, value=value, partial=partial)
    events.add(tx, study.uuid, study.study_id, told)


def finish(
    tx: Transaction,
    study: StudyRow,
    trial: FrozenTrial,
    state: StateName,
    values: Sequence[float] | None,
    failure: Failure | None,
    constraints: Mapping[str, float] = NO_CONSTRAINTS,
) -> None:
    """End a trial for good.

    Args:
        values: Values of the objectives; ``None`` of a trial that has none.
        constraints: Excess over each constraint by its name; 0 or less where the constraint is met.
    """
    _set_system_attrs(tx, trial, {f"{CONSTRAINTS}{name}": excess for name, excess in constraints.items()})
    if failure is not None:
        tx.trials.set_trial_user_attr(id_of(trial), FAILURE, failure.model_dump(mode="json"))
    tx.trials.set_trial_state_values(id_of(trial), TrialState[state], values)
    _say(tx, study, trial, state, values, failure)
    tx.after_commit.append(tx.metrics.trials.labels(state).inc)


def _found(tx: Transaction, study: StudyRow, number: int) -> FrozenTrial:
    trial = find(tx, study, number)
    assert trial is not None
    return trial


def _set_system_attrs(tx: Transaction, trial: FrozenTrial, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        tx.trials.set_trial_system_attr(id_of(trial), key, value)


def _waiting(tx: Transaction) -> dict[str, str]:
    return {WAITING_SINCE: _now(tx)}


def _pause(tx: Transaction, rung: int, step: int, attempt: int) -> dict[str, Any]:
    return asdict(Pause(rung=rung, step=step, attempt=attempt, since=_now(tx)))


def _now(tx: Transaction) -> str:
    # of one length, so that the smallest text is the earliest instant
    return tx.now.isoformat(timespec="microseconds")


def _waiting_ones(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    return [trial for trial in unfinished(tx, study) if trial.state is TrialState.WAITING]


def _of_studies(*states: str) -> Select[Any]:
    own = study_spec.c.study_id == trials.c.study_id
    return select(trials).join(study_spec, own).where(study_spec.c.state.in_(states))


def _say(
    tx: Transaction,
    study: StudyRow,
    trial: FrozenTrial,
    state: StateName,
    values: Sequence[float] | None = None,
    failure: Failure | None = None,
) -> None:
    changed = TrialChanged(
        number=trial.number,
        state=state,
        params={name: param_value(value) for name, value in trial.params.items()},
        value=values[0] if values else None,
        values=list(values or ()),
        failure=failure,
        paused=_shown(pause_of(trial)) if state == "WAITING" else None,
        taken_from=taken_from(trial),
    )
    events.add(tx, study.uuid, study.study_id, changed)
    if state != "RUNNING":
        tx.make_work()


def paused_at(trial: FrozenTrial) -> Paused | None:
    """Return where a trial is paused, as people see it; ``None`` of any other."""
    return _shown(pause_of(trial)) if trial.state is TrialState.WAITING else None


def _shown(pause: Pause | None) -> Paused | None:
    return None if pause is None else Paused(rung=pause.rung, since=pause.began_at)


def failure_of(trial: FrozenTrial) -> Failure | None:
    """Return the failure of a FAIL trial; ``None`` of any other."""
    stored = trial.user_attrs.get(FAILURE)
    return None if stored is None else Failure(**stored)


class FailureCounts:
    """How many of some trials have failed with each failure class."""

    def __init__(self, by_class: Counter[str] | None = None) -> None:
        self.by_class = by_class or Counter()

    def extended(self, trials: Sequence[FrozenTrial]) -> "FailureCounts":
        """Return the counts of these trials and ``trials``; what a person has cancelled did not fail."""
        failed = (failure_of(trial) for trial in trials if trial.state is TrialState.FAIL)
        classes = (failure.failure_class for failure in failed if failure is not None)
        return FailureCounts(self.by_class + Counter(one for one in classes if one != "cancelled"))


def failures_by_class(tx: Transaction, study: StudyRow) -> Counter[str]:
    """Return how many FAIL trials a study has of each failure class; what a person has cancelled did not fail."""
    return tx.trials.summary(study.study_id, FailureCounts).by_class
