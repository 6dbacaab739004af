"""Optuna's storage interface inside the caller's transaction.

Stock ``RDBStorage`` commits on connections of its own, ten times for one ask, and on SQLite lets two
threads claim one trial. ``SqlStorage`` commits nothing: what it writes lives and dies with the caller's
transaction, together with the lease or the report that belongs to it. It passes Optuna's own
``StorageTestCase`` but for pickling, which a transaction cannot do.
"""

import copy
from collections import Counter
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import DateTime, bindparam, func, insert, select, update

from service.optuna_private import id_of, set_id
from service.store.optuna.frozen import (
    insert_contents,
    intermediate_row,
    load_trials,
    to_shown_time,
    to_stored_time,
    value_row,
)
from service.store.optuna.studies import SqlStudies
from service.store.optuna.summaries import S
from service.store.optuna.tables import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from service.store.optuna.transaction_trials import OpenTrials, unsettled
from service.store.optuna.trial_cache import Picture, SeenTrials
from service.store.sql.statements import Call, Row, Runner, Statement, as_it_is
from service.store.sql.upsert import upsert

_ADD_TRIAL = Statement(insert(trials).returning(trials.c.trial_id))
_CLAIM = Statement(
    update(trials)
    .where(trials.c.trial_id == bindparam("claimed"), trials.c.state == bindparam("before"))
    .values(
        state=bindparam("state"),
        datetime_start=func.coalesce(bindparam("start", type_=DateTime()), trials.c.datetime_start),
        datetime_complete=func.coalesce(bindparam("complete", type_=DateTime()), trials.c.datetime_complete),
    )
    .returning(trials.c.trial_id)
)
_STATE = select(trials.c.state).where(trials.c.trial_id == bindparam("trial_id")).with_for_update(key_share=True)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqlStorage(SqlStudies):
    """Not shared between threads: it lives as long as one transaction.

    Args:
        runner: Of a connection with a transaction begun. Nothing here commits or rolls back.
        now: The instant that trials start and end at.
        seen: What earlier transactions saw; the caller shows it `pictures` after its commit, never before.
    """

    def __init__(
        self,
        runner: Runner,
        now: Callable[[], datetime] = _utc_now,
        seen: SeenTrials | None = None,
    ) -> None:
        super().__init__(runner)
        self._now = now
        self._seen = seen or SeenTrials()
        self._open: dict[int, OpenTrials] = {}
        """By study id, what this transaction has read."""

    def pictures(self) -> dict[int, Picture]:
        """What this transaction has seen of its studies, by study id, its own changes included."""
        pictures = {study_id: trials.picture() for study_id, trials in self._open.items()}
        return {study_id: picture for study_id, picture in pictures.items() if picture is not None}

    def counts(self, study_id: int) -> Counter[TrialState]:
        """How many trials a study has in each state."""
        return self._opened(study_id).counts()

    def settled(self, study_id: int, kind: type[S]) -> S:
        """The summary of the first trials of a study, which had finished before this transaction."""
        return self._opened(study_id).settled(kind)

    def summary(self, study_id: int, kind: type[S]) -> S:
        """The summary of all trials of a study."""
        return self._opened(study_id).summary(kind)

    def shared(self, study_id: int) -> list[FrozenTrial]:
        """All trials of a study, in the order of their numbers, as this transaction goes on; not to be changed."""
        return self._opened(study_id).trials

    def waiting(self, study_id: int) -> list[FrozenTrial]:
        """The WAITING trials of a study, in the order of their numbers; shared, so not to be changed."""
        return self._opened(study_id).waiting()

    def reload(self, trial_id: int) -> None:
        """Read a trial again, if it was read, that was written past this storage."""
        if opened := self._opened_with(trial_id):
            opened.reload(trial_id)

    def opening(self, study_id: int) -> Call[None]:
        """Ask for what this transaction has yet to read of a study's trials; else the first to need them asks."""
        seen = self._seen.of(study_id)

        def open_with(rows: list[Row]) -> None:
            # While the question waited for the study's lock, others may have shown what they did. What was done after
            # our own look at the database is not for us.
            newer = self._seen.of(study_id)
            is_fit = rows and newer is not None and newer.revision <= rows[0].revision
            self._open[study_id] = OpenTrials(self._runner, study_id, newer if is_fit else seen, rows)

        return unsettled(study_id, seen, open_with)

    def noting_event(self, study_id: int) -> Callable[[Row], None]:
        """What to do with the row of an event that covers the changes of this study so far, once it is written."""
        return self._open[study_id].noting_event() if study_id in self._open else as_it_is

    def __reduce__(self) -> NoReturn:
        raise TypeError("SqlStorage lives inside one open transaction and cannot be pickled")

    def delete_study(self, study_id: int) -> None:
        super().delete_study(study_id)
        self._open.pop(study_id, None)

    # trials, written

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        # the study's row is locked first, always: numbers are given under it
        self._require_study(study_id, lock=True)
        number = select(func.count()).where(trials.c.study_id == study_id).scalar_subquery()
        if template_trial is None:
            times: dict[str, datetime | None] = {"datetime_start": self._now_stored()}
            state = TrialState.RUNNING
        else:
            times = {
                "datetime_start": to_stored_time(template_trial.datetime_start),
                "datetime_complete": to_stored_time(template_trial.datetime_complete),
            }
            state = template_trial.state
        row = insert(trials).values(study_id=study_id, number=number, state=state.name, **times)
        trial_id = int(self._connection.execute(row.returning(trials.c.trial_id)).scalar_one())
        if template_trial is not None:
            insert_contents(self._runner, trial_id, template_trial)
        self._open.pop(study_id, None)
        return trial_id

    def add_trial(self, study_id: int, template: FrozenTrial) -> FrozenTrial:
        """Write a whole trial of a study whose lock is held; return it with its number, the next one."""
        opened = self._opened(study_id)
        added = copy.copy(template)
        added.number = len(opened.trials)
        row = _ADD_TRIAL.rows(
            study_id=study_id,
            number=added.number,
            state=template.state.name,
            datetime_start=to_stored_time(template.datetime_start),
            datetime_complete=None,
        )
        set_id(added, self._runner.ask(row)[0].trial_id)
        insert_contents(self._runner, id_of(added), added)
        opened.add(added)
        return added

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._require_updatable(trial_id)
        before = self._first_distribution(trial_id, param_name)
        if before is not None:
            check_distribution_compatibility(before, distribution)
        row = {"param_value": param_value_internal, "distribution_json": distribution_to_json(distribution)}
        key = {"trial_id": trial_id, "param_name": param_name}
        self._runner.write(upsert(trial_params, *key).rows(**key, **row))
        self.reload(trial_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        current = self._require_updatable(trial_id)
        if state == TrialState.RUNNING and current != TrialState.WAITING:
            return False
        times: dict[str, datetime] = {}
        if state == TrialState.RUNNING:
            times["datetime_start"] = self._now_stored()
        if state.is_finished():
            times["datetime_complete"] = self._now_stored()
        # the state is compared in the same statement, so that of two claims one wins
        claim = _CLAIM.rows(
            claimed=trial_id,
            before=current.name,
            state=state.name,
            start=times.get("datetime_start"),
            complete=times.get("datetime_complete"),
        )
        if not self._runner.ask(claim):
            return False
        for objective, value in enumerate(values or ()):
            row = value_row(trial_id, objective, value)
            self._runner.write(upsert(trial_values, "trial_id", "objective").rows(**row))
        if opened := self._opened_with(trial_id):
            opened.set_state(trial_id, state, values, {name: to_shown_time(utc) for name, utc in times.items()})
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._require_updatable(trial_id)
        row = intermediate_row(trial_id, step, intermediate_value)
        self._runner.write(upsert(trial_intermediate_values, "trial_id", "step").rows(**row))
        if opened := self._opened_with(trial_id):
            opened.set_intermediate_value(trial_id, step, float(intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_user_attributes, "trial_id", trial_id, key, value)
        self.reload(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_system_attributes, "trial_id", trial_id, key, value)
        if opened := self._opened_with(trial_id):
            opened.set_system_attr(trial_id, key, value)

    # trials, read

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        wanted = select(trials.c.trial_id).where(trials.c.study_id == study_id, trials.c.number == trial_number)
        trial_id = self._connection.execute(wanted).scalar_one_or_none()
        if trial_id is None:
            raise KeyError(f"study {study_id} has no trial number {trial_number}")
        return int(trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        found = load_trials(self._connection, [trial_id])
        if trial_id not in found:
            raise KeyError(f"there is no trial with id {trial_id}")
        return found[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._opened(study_id).trials
        if not found:
            self._require_study(study_id)
        chosen = found.copy() if states is None else [trial for trial in found if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    # helpers

    def _now_stored(self) -> datetime:
        return self._now().astimezone(UTC).replace(tzinfo=None)

    def _opened(self, study_id: int) -> OpenTrials:
        if study_id not in self._open:
            self._runner.ask(self.opening(study_id))
        return self._open[study_id]

    def _opened_with(self, trial_id: int) -> OpenTrials | None:
        return next((opened for opened in self._open.values() if opened.has(trial_id)), None)

    def _require_updatable(self, trial_id: int) -> TrialState:
        opened = self._opened_with(trial_id)
        if opened is not None and (known := opened.open_state(trial_id)) is not None:
            return known  # read under the study's lock
        row = self._connection.execute(_STATE, {"trial_id": trial_id}).first()
        if row is None:
            raise KeyError(f"there is no trial with id {trial_id}")
        state = TrialState[row.state]
        self.check_trial_is_updatable(trial_id, state)
        return state

    def _first_distribution(self, trial_id: int, param_name: str) -> BaseDistribution | None:
        study_id = select(trials.c.study_id).where(trials.c.trial_id == trial_id).scalar_subquery()
        wanted = (
            select(trial_params.c.distribution_json)
            .join(trials)
            .where(trials.c.study_id == study_id, trial_params.c.param_name == param_name)
            .limit(1)
        )
        row = self._connection.execute(wanted).first()
        return None if row is None else json_to_distribution(row.distribution_json)
