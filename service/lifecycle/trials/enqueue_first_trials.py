"""Enqueue the trials that a study begins with: the baseline, what its spec enqueues, and those of pilots."""

from service.lifecycle.trials.add_proposed import add_proposed
from service.search.baseline import baseline
from service.search.lint.lint_facts import lint_facts
from service.search.propose.propose import ProposalRequest
from service.search.propose.proposer import Proposer
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.study_spec import Params


def enqueue_first_trials(tx: Transaction, proposer: Proposer, study: StudyRow, facts: Facts) -> StudyRow:
    """Add a study's first trials, in the transaction that accepts its facts, so that no study has half of them."""
    warnings = [*study.warnings, *facts.warnings, *map(str, lint_facts(study.spec, facts))]
    if study.spec.baseline:
        start = baseline(study.spec, facts)
        warnings += start.warnings
        _enqueue(tx, proposer, study, start.params, {trials.BASELINE: True})
    for params in study.spec.enqueue:
        _enqueue(tx, proposer, study, params, {})
    if study.spec.start_small is not None:
        # pilots need their params now; a sampler has seen nothing, and so would draw the same ones later
        for _ in range(study.spec.start_small.trials - len(trials.all_of(tx, study))):
            _enqueue(tx, proposer, study, {}, {})
    return studies.change(tx, study, warnings=warnings)


def _enqueue(tx: Transaction, proposer: Proposer, study: StudyRow, fixed: Params, user_attrs: dict[str, bool]) -> None:
    seen = trials.all_of(tx, study)
    # nothing has been seen yet, so a sampler only fills what is left out, by chance: this takes no time
    proposal = proposer.propose(
        ProposalRequest(
            spec=study.spec,
            study_name=study.name,
            number=len(seen),
            trials=seen,
            fixed=fixed,
            study_system_attrs=tx.trials.get_study_system_attrs(study.study_id),
        )
    )
    if proposal is not None:  # else a grid ends before the enqueued trials do
        add_proposed(tx, study, "WAITING", proposal, user_attrs)
