"""Take in what was measured of a study while others train, or that it was not measured.

It is how close the task is to what its checkpoint has learnt already, and how long steps take: advice and a quote,
which decide nothing, so the study goes on whatever comes of it.
"""

from service.store import studies
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ProbeOutcome


def accept_probe(tx: Transaction, study: StudyRow, outcome: ProbeOutcome) -> StudyRow:
    """Add to the facts of a locked study what was found, and to its warnings where that suggests another preset."""
    found = outcome.similarity
    has_other_preset = found is not None and found.suggestion not in (None, study.spec.preset)
    facts = facts_with(_facts_of(study), outcome)
    return _told(tx, study, facts, [found.why] if found is not None and has_other_preset else [])


def note_failed_probe(tx: Transaction, study: StudyRow, failure: Failure) -> StudyRow:
    """Say among the warnings of a locked study what was not measured and why; nobody tries that again.

    The similarity is measured first, so where it is awaited it has failed, and steps may yet be timed by a probe of
    their own.
    """
    facts = _facts_of(study)
    if facts.awaits_similarity:
        facts = facts.model_copy(update={"awaits_similarity": False})
        return _told(tx, study, facts, [f"the similarity of the task was not measured: {failure.message}"])
    facts = facts.model_copy(update={"awaits_step_times": False})
    return _told(tx, study, facts, [f"what the study will take is not known: {failure.message}"])


def facts_with(facts: Facts, outcome: ProbeOutcome) -> Facts:
    """Return the facts of a study with what a probe has found; nothing is awaited any more, whatever it lacks."""
    found = {"similarity": outcome.similarity} if facts.awaits_similarity else {}
    times = {"step_times": outcome.step_times} if facts.awaits_step_times else {}
    return facts.model_copy(update={**found, **times, "awaits_similarity": False, "awaits_step_times": False})


def _facts_of(study: StudyRow) -> Facts:
    assert study.facts is not None
    return study.facts


def _told(tx: Transaction, study: StudyRow, facts: Facts, warnings: list[str]) -> StudyRow:
    facts = facts.model_copy(update={"warnings": [*facts.warnings, *warnings]})
    return studies.change(tx, study, facts=facts, warnings=[*study.warnings, *warnings])
