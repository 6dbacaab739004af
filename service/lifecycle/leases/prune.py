"""Decide whether a trial ends early, at one report."""

from functools import partial

from service.search.pruning.curves import Curves
from service.search.pruning.decide import Decision, should_prune
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial


def prune(tx: Transaction, study: StudyRow, trial: FrozenTrial, *, is_final: bool) -> Decision:
    """Ask the study's pruner about a trial whose newest value is in it; a final report is never pruned."""
    settled = partial(tx.trials.settled, study.study_id, Curves)
    decision = should_prune(study.spec, study.name, trial, trials.all_of(tx, study), settled)
    if is_final and decision.should_prune:
        return Decision(should_prune=False, grounds=None, system_attrs=decision.system_attrs)
    return decision
