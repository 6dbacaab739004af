"""The trials of one study within one transaction: read once, then kept equal to what the transaction writes."""

import copy
import json
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import bindparam, func, select

from service.optuna_private import id_of
from service.store.optuna.frozen import load_trials
from service.store.optuna.summaries import S, StateCounts, Summaries
from service.store.optuna.tables import trials
from service.store.optuna.trial_cache import Snapshot
from service.store.sql.statements import Call, Row, Runner, Statement
from service.store.sql.tables import event, study_spec

_uuid = select(study_spec.c.uuid).where(study_spec.c.study_id == bindparam("study_id")).scalar_subquery()
_revision = select(func.max(event.c.sequence)).where(event.c.study_uuid == _uuid).scalar_subquery()
_BEHIND_PREFIX = Statement(
    select(trials.c.trial_id, trials.c.number, trials.c.state, _revision.label("revision"))
    # numbers ascend with ids, and an index has both study and number
    .where(trials.c.study_id == bindparam("study_id"), trials.c.number >= bindparam("from_number"))
    .order_by(trials.c.number)
)
_SINCE = Statement(
    select(event.c.payload)
    .where(event.c.study_uuid == _uuid, event.c.sequence > bindparam("revision"))
    .limit(bindparam("at_most"))
)
MANY = 100
"""How many events since a snapshot are gone through; after more, all unfinished trials are read again."""


def behind_prefix(study_id: int, cached: Snapshot | None, read: Callable[[list[Row]], None]) -> Call[None]:
    """Ask for the trials of a study behind those that had all finished by a ``cached`` snapshot."""
    return _BEHIND_PREFIX.then(read, study_id=study_id, from_number=_number_behind_prefix(cached))


def _number_behind_prefix(cached: Snapshot | None) -> int:
    """The number of the first trial that may not have finished."""
    return cached.trials[cached.prefix_length - 1].number + 1 if cached is not None and cached.prefix_length else 0


class TransactionTrials:
    """All trials of a study in the order of their numbers, as they are in one transaction.

    Args:
        cached: The snapshot of an earlier transaction. Finished trials are taken from it, and those that no event since
            tells of; the states are read in any case, so that a trial is noticed that stock Optuna has written.
        rows: The answer to `behind_prefix`, asked with ``cached`` or an older snapshot.
    """

    def __init__(self, runner: Runner, study_id: int, cached: Snapshot | None, rows: list[Row]) -> None:
        prefix = [] if cached is None else cached.trials[: cached.prefix_length]
        self._revision: int | None = rows[0].revision if rows else (cached.revision if cached is not None else None)
        from_number = _number_behind_prefix(cached)
        rows = [row for row in rows if row.number >= from_number]
        known = {} if cached is None else {id_of(one): one for one in cached.trials[cached.prefix_length :]}
        changed = () if cached is None else self._changed_since(runner, study_id, cached.revision)
        trusted = {
            row.trial_id: one
            for row in rows
            if (one := known.get(row.trial_id)) is not None
            and one.state.name == row.state
            and (one.state.is_finished() or (changed is not None and one.number not in changed))
        }
        loaded = load_trials(runner.connection, [row.trial_id for row in rows if row.trial_id not in trusted])
        self._runner = runner
        self._n_changes = 0
        self._prefix_length = len(prefix)
        self._summaries = Summaries() if cached is None else cached.summaries
        self.trials = prefix
        self.trials += [trusted.get(row.trial_id) or loaded[row.trial_id] for row in rows]
        self._place = {id_of(one): at for at, one in enumerate(self.trials[self._prefix_length :], self._prefix_length)}

    def _changed_since(self, runner: Runner, study_id: int, revision: int) -> Container[int] | None:
        """Numbers of the trials that events tell of; ``None``: too many to tell."""
        if revision == self._revision:
            return ()
        since = runner.ask(_SINCE.rows(study_id=study_id, revision=revision, at_most=MANY + 1))
        return None if len(since) > MANY else {row.payload["number"] for row in since if "number" in row.payload}

    def snapshot(self) -> Snapshot | None:
        """Return what others may read after the commit; ``None`` if a change is without its event."""
        if self._revision is None:
            return None
        n_newly = sum(1 for _ in takewhile(lambda one: one.state.is_finished(), self.trials[self._prefix_length :]))
        return Snapshot(
            revision=self._revision,
            trials=self.trials,
            prefix_length=self._prefix_length + n_newly,
            summaries=self._summaries,
        )

    def prefix_summary(self, kind: type[S]) -> S:
        """Return the summary of the first trials, which had all finished before this transaction."""
        return self._summaries.of(kind, self.trials, self._prefix_length)

    def summary(self, kind: type[S]) -> S:
        """Return the summary of all trials."""
        return self.prefix_summary(kind).extended(self.trials[self._prefix_length :])

    def counts(self) -> Counter[TrialState]:
        """Return how many trials there are in each state."""
        return self.summary(StateCounts).by_state

    def waiting(self) -> list[FrozenTrial]:
        """Return the WAITING trials in order."""
        return [one for one in self.trials[self._prefix_length :] if one.state is TrialState.WAITING]

    def noting_event(self) -> Callable[[Row], None]:
        """Return what to do with the row of an event, once it is written, that tells of all changes so far."""
        n_changes = self._n_changes

        def note(row: Row) -> None:
            if self._n_changes == n_changes:
                self._revision = row.sequence

        return note

    def has(self, trial_id: int) -> bool:
        """Return whether a trial is one of this study that may not have finished when it was read."""
        return trial_id in self._place

    def open_state(self, trial_id: int) -> TrialState | None:
        """Return the state of a trial that has not finished; ``None`` if that is not known here."""
        at = self._place.get(trial_id)
        return None if at is None or self.trials[at].state.is_finished() else self.trials[at].state

    def add(self, trial: FrozenTrial) -> None:
        """Take in a trial that was written as the last one of the study."""
        self._place[id_of(trial)] = len(self.trials)
        self.trials.append(trial)
        self._note_change()

    def reload(self, trial_id: int) -> None:
        """Read a trial again that was changed past this object."""
        self._put(load_trials(self._runner.connection, [trial_id])[trial_id])

    def set_intermediate_value(self, trial_id: int, step: int, value: float) -> None:
        """Take in an intermediate value that was written."""
        changed = self._copy(trial_id)
        changed.intermediate_values = {**changed.intermediate_values, step: value}
        self._put(changed)

    def set_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Take in a system attribute that was written, as it will be read."""
        changed = self._copy(trial_id)
        changed.system_attrs = {**changed.system_attrs, key: json.loads(json.dumps(value))}
        self._put(changed)

    def set_state(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None, times: Mapping[str, datetime]
    ) -> None:
        """Take in a state that was written, with the values and the times of the change."""
        changed = self._copy(trial_id)
        changed.state = state
        if values:
            changed.values = [float(value) for value in values]
        changed.datetime_start = times.get("datetime_start", changed.datetime_start)
        changed.datetime_complete = times.get("datetime_complete", changed.datetime_complete)
        self._put(changed)

    def _copy(self, trial_id: int) -> FrozenTrial:
        """A trial to change; the one that is here may be shared."""
        return copy.copy(self.trials[self._place[trial_id]])

    def _put(self, trial: FrozenTrial) -> None:
        self.trials[self._place[id_of(trial)]] = trial
        self._note_change()

    def _note_change(self) -> None:
        self._n_changes += 1
        self._revision = None
