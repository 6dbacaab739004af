"""The trials of one study within one transaction: read once, then kept equal to what the transaction writes."""

import copy
import json
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import bindparam, func, null, select, union_all

from service.optuna_private import id_of
from service.store.optuna.frozen import load_trials
from service.store.optuna.summaries import Bulk, Kind, S, StateCounts, Summaries
from service.store.optuna.tables import UNFINISHED, trials
from service.store.optuna.trial_cache import Snapshot
from service.store.sql.statements import Call, Row, Runner, Statement
from service.store.sql.tables import event, study_spec

_uuid = select(study_spec.c.uuid).where(study_spec.c.study_id == bindparam("study_id")).scalar_subquery()
_revision = select(func.max(event.c.sequence)).where(event.c.study_uuid == _uuid).scalar_subquery()
_TRIAL = select(trials.c.trial_id, trials.c.number, trials.c.state, null().label("revision")).where(
    trials.c.study_id == bindparam("study_id")
)
_UNCERTAIN = Statement(
    union_all(
        select(null().label("trial_id"), null().label("number"), null().label("state"), _revision.label("revision")),
        _TRIAL.where(trials.c.number >= bindparam("from_number")),
        # each by an index of its own: what has finished is not gone through, however much it is
        _TRIAL.where(trials.c.number < bindparam("from_number"), UNFINISHED),
    )
)
_SINCE = Statement(
    select(event.c.payload)
    .where(event.c.study_uuid == _uuid, event.c.sequence > bindparam("revision"))
    .limit(bindparam("at_most"))
)
MANY = 100
"""How many events since a snapshot are gone through; after more, all unfinished trials are read again."""


def uncertain(study_id: int, cached: Snapshot | None, read: Callable[[list[Row]], None]) -> Call[None]:
    """Ask for the trials of a study that have not finished, or are not in the ``cached`` snapshot.

    The first row tells the sequence of the study's last event, and nothing else.
    """
    return _UNCERTAIN.then(read, study_id=study_id, from_number=_next_number(cached))


def _next_number(cached: Snapshot | None) -> int:
    """The number of the first trial that is not in a snapshot."""
    return cached.trials[-1].number + 1 if cached is not None and cached.trials else 0


class TransactionTrials:
    """All trials of a study in the order of their numbers, as they are in one transaction.

    Args:
        cached: The snapshot of an earlier transaction. Finished trials are taken from it, and those that no event since
            tells of; the states are read in any case, so that a trial is noticed that stock Optuna has written.
        rows: The answer to `uncertain`, asked with ``cached`` or an older snapshot.
    """

    def __init__(self, runner: Runner, study_id: int, cached: Snapshot | None, rows: list[Row]) -> None:
        self._runner = runner
        self._n_changes = 0
        self._revision: int | None = rows[0].revision
        self.trials = [] if cached is None else cached.trials.copy()
        self._unfinished = {} if cached is None else dict(cached.unfinished)
        self._summaries = Summaries() if cached is None else cached.summaries
        self._newly_finished: list[FrozenTrial] = []
        """Trials that are in no summary yet."""
        self._with_own_values: set[int] = set()
        """Ids of trials whose intermediate values are shared with no other transaction."""
        states = {row.trial_id: row.state for row in rows[1:]}
        changed = () if cached is None else self._changed_since(runner, study_id, cached.revision)
        # one that is not among the rows has finished
        stale = {
            trial_id: place
            for trial_id, place in self._unfinished.items()
            if (one := self.trials[place]).state.name != states.get(trial_id)
            or changed is None
            or one.number in changed
        }
        from_number = _next_number(cached)
        new = sorted((row.number, row.trial_id) for row in rows[1:] if row.number >= from_number)
        loaded = load_trials(runner, [*stale, *(trial_id for _, trial_id in new)])
        for trial_id, place in stale.items():
            if trial_id in loaded:  # else it was deleted with its study
                self._place(loaded[trial_id], place)
        for _, trial_id in new:
            self._append(loaded[trial_id])

    def _changed_since(self, runner: Runner, study_id: int, revision: int) -> Container[int] | None:
        """Numbers of the trials that events tell of; ``None``: too many to tell."""
        if revision == self._revision:
            return ()
        since = runner.ask(_SINCE.rows(study_id=study_id, revision=revision, at_most=MANY + 1))
        return None if len(since) > MANY else {row.payload["number"] for row in since if "number" in row.payload}

    def is_at(self, revision: int | None) -> bool:
        """Return whether the study's last event, ``revision``, tells of the last change of these trials."""
        return revision is not None and revision == self._revision

    def snapshot(self) -> Snapshot | None:
        """Return what others may read after the commit; ``None`` if a change is without its event."""
        if self._revision is None:
            return None
        return Snapshot(
            revision=self._revision,
            trials=self.trials,
            unfinished=self._unfinished,
            n_bytes=self.summary(Bulk).n_bytes,
            summaries=self._summaries,
        )

    def summary(self, kind: Kind[S]) -> S:
        """Return the summary of the trials that have finished."""
        if self._newly_finished:
            self._summaries = self._summaries.extended(self._newly_finished)
            self._newly_finished = []
        return self._summaries.of(kind, lambda: [one for one in self.trials if one.state.is_finished()])

    def counts(self) -> Counter[TrialState]:
        """Return how many trials there are in each state."""
        unfinished = Counter(self.trials[place].state for place in self._unfinished.values())
        return self.summary(StateCounts).by_state + unfinished

    def unfinished(self) -> list[FrozenTrial]:
        """Return the trials that have not finished, in order."""
        return [self.trials[place] for place in sorted(self._unfinished.values())]

    def noting_event(self) -> Callable[[Row], None]:
        """Return what to do with the row of an event, once it is written, that tells of all changes so far."""
        n_changes = self._n_changes

        def note(row: Row) -> None:
            if self._n_changes == n_changes:
                self._revision = row.sequence

        return note

    def has(self, trial_id: int) -> bool:
        """Return whether a trial is one of this study that has not finished."""
        return trial_id in self._unfinished

    def unfinished_state(self, trial_id: int) -> TrialState | None:
        """Return the state of a trial that has not finished; ``None`` if that is not known here."""
        place = self._unfinished.get(trial_id)
        return None if place is None else self.trials[place].state

    def add(self, trial: FrozenTrial) -> None:
        """Take in a trial that was written as the last one of the study."""
        self._append(trial)
        self._note_change()

    def reload(self, trial_id: int) -> None:
        """Read a trial again that was changed past this object."""
        self._put(load_trials(self._runner, [trial_id])[trial_id])

    def set_intermediate_value(self, trial_id: int, step: int, value: float) -> None:
        """Take in an intermediate value that was written."""
        changed = self._copy(trial_id)
        # the values are copied once a transaction, however many it writes
        if trial_id not in self._with_own_values:
            changed.intermediate_values = changed.intermediate_values.copy()
            self._with_own_values.add(trial_id)
        changed.intermediate_values[step] = value
        self._put(changed)

    def set_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Take in a user attribute that was written, as it will be read."""
        changed = self._copy(trial_id)
        changed.user_attrs = {**changed.user_attrs, key: json.loads(json.dumps(value))}
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
        return copy.copy(self.trials[self._unfinished[trial_id]])

    def _put(self, trial: FrozenTrial) -> None:
        self._place(trial, self._unfinished[id_of(trial)])
        self._note_change()

    def _append(self, trial: FrozenTrial) -> None:
        self.trials.append(trial)
        self._place(trial, len(self.trials) - 1)

    def _place(self, trial: FrozenTrial, place: int) -> None:
        self.trials[place] = trial
        if trial.state.is_finished():
            self._unfinished.pop(id_of(trial), None)
            self._newly_finished.append(trial)
        else:
            self._unfinished[id_of(trial)] = place

    def _note_change(self) -> None:
        self._n_changes += 1
        self._revision = None
