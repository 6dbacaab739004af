"""Optuna's storage interface inside the caller's transaction.

Stock ``RDBStorage`` commits on connections of its own, ten times for one ask, and on SQLite lets two
threads claim one trial. ``SqlStorage`` commits nothing: what it writes lives and dies with the caller's
transaction, together with the lease or the report that belongs to it. It passes Optuna's own
``StorageTestCase`` but for pickling, which a transaction cannot do.
"""

import copy
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
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
    insert_intermediate_values,
    intermediate_row,
    load_trials,
    to_shown_time,
    to_stored_time,
    value_row,
)
from service.store.optuna.studies import SqlStudies
from service.store.optuna.summaries import Kind, S
from service.store.optuna.tables import (
    trial_intermediate_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
    trial_values,
    trials,
)
from service.store.optuna.transaction_trials import TransactionTrials, uncertain
from service.store.optuna.trial_cache import Snapshot, TrialCache
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
    """Optuna's storage inside one transaction; not shared between threads.

    Args:
        runner: Runs statements on a connection with a transaction begun. Nothing here commits or rolls back.
        now: Gives the instant that trials start and end at.
        cache: Snapshots of earlier transactions; the caller puts `snapshots` there after its commit, never before.
    """

    def __init__(
        self,
        runner: Runner,
        now: Callable[[], datetime] = _utc_now,
        cache: TrialCache | None = None,
    ) -> None:
        super().__init__(runner)
        self._now = now
        self._cache = cache or TrialCache()
        self._loaded: dict[int, TransactionTrials] = {}
        """By study id, what this transaction has read."""

    def snapshots(self) -> dict[int, Snapshot]:
        """Return the trials of the studies that this transaction has read, by study id, its own changes included."""
        snapshots = {study_id: loaded.snapshot() for study_id, loaded in self._loaded.items()}
        return {study_id: snapshot for study_id, snapshot in snapshots.items() if snapshot is not None}

    def counts(self, study_id: int) -> Counter[TrialState]:
        """Return how many trials a study has in each state."""
        return self._load(study_id).counts()

    def summary(self, study_id: int, kind: Kind[S]) -> S:
        """Return the summary of the trials of a study that have finished, as this transaction goes on."""
        return self._load(study_id).summary(kind)

    def shared(self, study_id: int) -> list[FrozenTrial]:
        """Return all trials of a study by number, as they are in this transaction; shared, so not to be changed."""
        return self._load(study_id).trials

    def unfinished(self, study_id: int) -> list[FrozenTrial]:
        """Return the WAITING and RUNNING trials of a study, in the order of their numbers; shared, so not to be
        changed."""
        return self._load(study_id).unfinished()

    def reload(self, trial_id: int) -> None:
        """Read a trial again that was changed past this storage, if it has been read at all."""
        if loaded := self._loaded_with(trial_id):
            loaded.reload(trial_id)

    def loading(self, study_id: int) -> Call[None]:
        """Ask for what this transaction has yet to read of a study's trials; otherwise the first to need them asks."""
        cached = self._cache.get(study_id)

        def load(rows: list[Row]) -> None:
            loaded = self._loaded.get(study_id)
            if loaded is not None and loaded.is_at(rows[0].revision):
                return  # another write of this transaction has read them
            # While the question waited for the study's lock, others may have put a newer snapshot into the cache. One
            # that is newer than our own look at the database is not for us.
            newer, revision = self._cache.get(study_id), rows[0].revision
            is_fit = newer is not None and revision is not None and newer.revision <= revision
            self._loaded[study_id] = TransactionTrials(self._runner, study_id, newer if is_fit else cached, rows)

        return uncertain(study_id, cached, load)

    def noting_event(self, study_id: int) -> Callable[[Row], None]:
        """Return what to do with the row of an event, once written, that tells of all changes of a study so far."""
        return self._loaded[study_id].noting_event() if study_id in self._loaded else as_it_is

    def __reduce__(self) -> NoReturn:
        raise TypeError("SqlStorage lives inside one open transaction and cannot be pickled")

    def delete_study(self, study_id: int) -> None:
        super().delete_study(study_id)
        self._loaded.pop(study_id, None)

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
        self._loaded.pop(study_id, None)
        return trial_id

    def add_trial(self, study_id: int, template: FrozenTrial) -> FrozenTrial:
        """Write a whole trial of a study whose lock is held; return it with its number, the next one."""
        loaded = self._load(study_id)
        added = copy.copy(template)
        added.number = len(loaded.trials)
        row = _ADD_TRIAL.rows(
            study_id=study_id,
            number=added.number,
            state=template.state.name,
            datetime_start=to_stored_time(template.datetime_start),
            datetime_complete=None,
        )
        set_id(added, self._runner.ask(row)[0].trial_id)
        insert_contents(self._runner, id_of(added), added)
        loaded.add(added)
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
        if loaded := self._loaded_with(trial_id):
            loaded.set_state(trial_id, state, values, {name: to_shown_time(utc) for name, utc in times.items()})
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._require_updatable(trial_id)
        row = intermediate_row(trial_id, step, intermediate_value)
        self._runner.write(upsert(trial_intermediate_values, "trial_id", "step").rows(**row))
        if loaded := self._loaded_with(trial_id):
            loaded.set_intermediate_value(trial_id, step, float(intermediate_value))

    def add_intermediate_values(self, trial_id: int, values: Mapping[int, float]) -> None:
        """Write many intermediate values of a trial at once, by step, which has none at these steps."""
        self._require_updatable(trial_id)
        insert_intermediate_values(self._runner, trial_id, values)
        self.reload(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_user_attributes, "trial_id", trial_id, key, value)
        if loaded := self._loaded_with(trial_id):
            loaded.set_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._require_updatable(trial_id)
        self._set_attr(trial_system_attributes, "trial_id", trial_id, key, value)
        if loaded := self._loaded_with(trial_id):
            loaded.set_system_attr(trial_id, key, value)

    # trials, read

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        wanted = select(trials.c.trial_id).where(trials.c.study_id == study_id, trials.c.number == trial_number)
        trial_id = self._connection.execute(wanted).scalar_one_or_none()
        if trial_id is None:
            raise KeyError(f"study {study_id} has no trial number {trial_number}")
        return int(trial_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        found = load_trials(self._runner, [trial_id])
        if trial_id not in found:
            raise KeyError(f"there is no trial with id {trial_id}")
        return found[trial_id]

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = self._load(study_id).trials
        if not found:
            self._require_study(study_id)
        chosen = found.copy() if states is None else [trial for trial in found if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    # helpers

    def _now_stored(self) -> datetime:
        return self._now().astimezone(UTC).replace(tzinfo=None)

    def _load(self, study_id: int) -> TransactionTrials:
        if study_id not in self._loaded:
            self._runner.ask(self.loading(study_id))
        return self._loaded[study_id]

    def _loaded_with(self, trial_id: int) -> TransactionTrials | None:
        return next((loaded for loaded in self._loaded.values() if loaded.has(trial_id)), None)

    def _require_updatable(self, trial_id: int) -> TrialState:
        loaded = self._loaded_with(trial_id)
        if loaded is not None and (known := loaded.unfinished_state(trial_id)) is not None:
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
