"""Take in how close a study's task is to what its checkpoint has learnt already, or that this was not measured.

It is advice and decides nothing, so the study goes on whatever comes of it.
"""

from service.store import studies
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Similarity
from spezia.contract.failure import Failure


def note_similarity(tx: Transaction, study: StudyRow, found: Similarity | None) -> StudyRow:
    """Add to the facts of a locked study what was found, and to its warnings where that suggests another preset."""
    has_other_preset = found is not None and found.suggestion not in (None, study.spec.preset)
    return _probed(tx, study, found, [found.why] if found is not None and has_other_preset else [])


def note_failed_probe(tx: Transaction, study: StudyRow, failure: Failure) -> StudyRow:
    """Say among the warnings of a locked study why its similarity was not measured; nobody tries again."""
    return _probed(tx, study, None, [f"the similarity of the task was not measured: {failure.message}"])


def _probed(tx: Transaction, study: StudyRow, found: Similarity | None, warnings: list[str]) -> StudyRow:
    assert study.facts is not None
    told = {"similarity": found, "awaits_similarity": False, "warnings": [*study.facts.warnings, *warnings]}
    return studies.change(tx, study, facts=study.facts.model_copy(update=told), warnings=[*study.warnings, *warnings])
