"""Decide whether a trial ends early, at one report."""

from service.search.decide import Decision, should_prune
from service.store.studies import StudyRow
from service.store.trials import FrozenTrial


def prune(study: StudyRow, trial: FrozenTrial, seen: list[FrozenTrial], *, is_final: bool) -> Decision:
    """Ask the study's pruner about a trial whose newest value is in it; a final report is never pruned."""
    decision = should_prune(study.spec, study.name, trial, seen)
    if is_final and decision.should_prune:
        return Decision(should_prune=False, grounds=None, system_attrs=decision.system_attrs)
    return decision
