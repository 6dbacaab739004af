"""Functions of the service with one guard left out, to prove that the simulation would notice."""

import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, select, update

from service.lifecycle.confirmation import start_run
from service.lifecycle.leases import dispatch, report, take_back, tell
from service.lifecycle.studies import state_machine
from service.search.pruning.rungs import RungCounts
from service.store import attempts, leases, sent_checkpoints, studies, trials
from service.store.optuna import tables as optuna_tables
from service.store.sql.statements import Statement
from service.store.sql.tables import lease, study_spec
from service.store.store import Store


@dataclass(frozen=True)
class Cut:
    owner: Any
    """A module or a class."""
    function: str
    old: str
    """Source text of the function, there exactly once, …"""
    new: str
    """… and what stands in its place."""

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the function for the duration of a test."""
        original = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(self.old) == 1, f"{self.function}: the guard is no longer where the mutant cuts"
        names: dict[str, Any] = {}
        exec(source.replace(self.old, self.new), inspect.unwrap(original).__globals__, names)
        monkeypatch.setattr(self.owner, self.function, names[self.function])


@dataclass(frozen=True)
class Swap:
    owner: Any
    name: str
    """A statement of ``owner``."""
    new: Statement
    """What stands in its place."""

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace the statement for the duration of a test."""
        assert isinstance(getattr(self.owner, self.name), Statement)
        monkeypatch.setattr(self.owner, self.name, self.new)


_BY_ID = lease.c.lease_id == bindparam("of_id")
_FOUND_BY_ID = Swap(leases, "_FIND", Statement(select(lease).where(_BY_ID)))
_OF_LEASE = select(study_spec.c.study_id).join(lease, lease.c.study_uuid == study_spec.c.uuid).where(_BY_ID)
_LOCKED_BY_ID = Swap(
    studies,
    "_LOCK_BY_LEASE",
    Statement(
        select(optuna_tables.studies.c.study_id)
        .where(optuna_tables.studies.c.study_id == _OF_LEASE.scalar_subquery())
        .with_for_update(key_share=True)
    ),
)
_RENEWED_BY_ID = Swap(leases, "_RENEW", Statement(update(lease).where(_BY_ID).returning(lease)))
_ENDED_BY_ID = Swap(leases, "_END", Statement(delete(lease).where(_BY_ID).returning(lease)))
_REAPED_EARLY = Cut(leases, "reap", "        lease.c.expires_at < as_of,\n", "")
_REAPED_BY_ID = Cut(leases, "reap", "        lease.c.token == held.token,\n", "")

MUTANTS: dict[str, list[Cut | Swap]] = {
    "a stale heartbeat": [_RENEWED_BY_ID],
    "a stale report or upload": [_FOUND_BY_ID, _LOCKED_BY_ID, _RENEWED_BY_ID],
    "a stale result or release": [_LOCKED_BY_ID, _ENDED_BY_ID],
    "the reaper takes what was renewed": [_REAPED_EARLY],
    "the reaper has no clock": [_REAPED_EARLY, Cut(leases, "expired", ".where(lease.c.expires_at < tx.now)", "")],
    "a token is given twice": [Cut(leases, "hand_out_again", '"token": uuid4().hex', '"token": held.token')],
    "the cache is filled before the commit": [
        Cut(
            Store,
            "_transaction",
            """                yield tx
                tx.write_rest()
                tx.runner.commit()
            for study_id, snapshot in tx.trials.snapshots().items():
                self.caches.trials.put(study_id, snapshot)
""",
            """                try:
                    yield tx
                    tx.write_rest()
                    tx.runner.commit()
                finally:
                    for study_id, snapshot in tx.trials.snapshots().items():
                        self.caches.trials.put(study_id, snapshot)
""",
        )
    ],
    "a replayed report is decided again": [Cut(report, "_answer", "if stored is not None:", "if False:")],
    "a pruned trial may be complete": [
        Cut(tell, "_check_trial_outcome", 'if outcome.state == "COMPLETE" and was_pruned:', "if False:"),
    ],
}
"""What random faults find, one process after the other."""

RUNG_MUTANTS: dict[str, list[Cut | Swap]] = {
    "a trial that is to pause may be complete": [
        Cut(tell, "_check_trial_outcome", 'if outcome.state == "COMPLETE" and is_paused:', "if False:"),
    ],
    "a pause is forgotten with its worker": [
        Cut(take_back, "_was_told_to_pause", "pause_of(trial) is not None", "False"),
    ],
    "promotions have no cap": [
        Cut(RungCounts, "n_free", "- self.n_promoted[place]", ""),
        Cut(RungCounts, "free_since", "self.n_promoted[place] + ", ""),
    ],
    "a value of a part of the rows is taken for one of all": [Cut(report, "_decide", "if one.partial:", "if False:")],
    "values of a part of the rows outlive their attempt": [
        Cut(trials, "start", "if PARTIAL in trial.system_attrs:", "if False:"),
    ],
    "a promotion is forgotten": [Cut(dispatch, "start_waiting_trial", "trials.promote(tx, trial, pause.rung)", "pass")],
}
"""What random faults find where trials pause at rungs."""

SENDING_MUTANTS: dict[str, list[Cut | Swap]] = {
    "what was sent outlives its trial": [
        Cut(sent_checkpoints, "take_unwanted", "or_(~its_trial, has_gone_on)", "has_gone_on"),
    ],
}
"""What random faults find where workers send each other checkpoints."""

CONFIRM_MUTANTS: dict[str, list[Cut | Swap]] = {
    "a run under a fresh seed is made again": [Cut(start_run, "_awaited", "if run not in ended", "")],
    "a study ends before its winner is confirmed": [
        Cut(state_machine, "_moved_on", "if why_now is None and awaits_runs(tx, study):", "if False:"),
    ],
}
"""What random faults find where winners are confirmed under fresh seeds."""

RACES: dict[str, list[Cut | Swap]] = {
    "a report is stale since it looked": [_FOUND_BY_ID],
    "a result is stale since it looked": [_ENDED_BY_ID],
    "the reaper takes what was handed out again": [_REAPED_BY_ID],
    "a result is replayed to the stale": [
        Cut(
            attempts,
            "accepted_outcome",
            "attempt.c.lease_id == lease_id, attempt.c.token == token",
            "attempt.c.lease_id == lease_id",
        ),
    ],
}
"""What takes two at the very same time, or a clock that jumps: `test_races.py` knows when."""
