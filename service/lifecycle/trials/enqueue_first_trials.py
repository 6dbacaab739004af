"""Enqueue the trials that a study begins with: the baseline, what its spec enqueues, and those of pilots.

They are proposed before the transaction that accepts the study's facts and adds them: a thousand of them take half a
second, in which nobody else could write to SQLite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.lifecycle.trials.add_proposed import add_proposed
from service.search.baseline import baseline
from service.search.lint.lint_facts import lint_facts
from service.search.propose.propose import Proposal, ProposalRequest, waiting_trial
from service.search.propose.proposer import Proposer
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.facts import Facts
from spezia.contract.study_spec import Params


@dataclass(frozen=True, kw_only=True)
class FirstTrials:
    """The trials that a study begins with, proposed and not yet added."""

    number: int
    """Number of the first one: that of trials which the study had when they were proposed."""
    proposals: list[tuple[Proposal, dict[str, bool]]]
    """Each proposal with the user attributes of its trial."""
    warnings: list[str]
    """What to think about again, now that the facts are known."""


def propose_first_trials(
    proposer: Proposer,
    study: StudyRow,
    facts: Facts,
    seen: Sequence[FrozenTrial],
    study_system_attrs: Mapping[str, Any],
) -> FirstTrials:
    """Propose the first trials of a study that has the trials ``seen``: none, unless stock Optuna has added some.

    A sampler that has seen nothing only fills by chance what is left out.
    """
    spec = study.spec
    warnings = [*facts.warnings, *map(str, lint_facts(spec, facts))]
    wanted: list[tuple[Params, dict[str, bool]]] = [(params, {}) for params in spec.enqueue]
    if spec.baseline:
        start = baseline(spec, facts)
        warnings += start.warnings
        wanted.insert(0, (start.params, {trials.BASELINE: True}))
    if spec.start_small is not None:
        # pilots need their params now; a sampler has seen nothing, and so would draw the same ones later
        wanted += [({}, {})] * (spec.start_small.trials - len(seen) - len(wanted))
    known, attrs = list(seen), dict(study_system_attrs)
    proposals = []
    for fixed, user_attrs in wanted:
        request = ProposalRequest(
            spec=spec,
            study_name=study.name,
            number=len(known),
            trials=known,
            fixed=fixed,
            study_system_attrs=attrs,
        )
        proposal = proposer.propose(request)
        if proposal is not None:  # else a grid ends before the enqueued trials do
            known.append(waiting_trial(len(known), proposal))
            attrs |= proposal.study_system_attrs
            proposals.append((proposal, user_attrs))
    return FirstTrials(number=len(seen), proposals=proposals, warnings=warnings)


def enqueue_first_trials(tx: Transaction, study: StudyRow, first: FirstTrials) -> StudyRow:
    """Add a study's first trials, in the transaction that accepts its facts, so that no study has half of them."""
    for proposal, user_attrs in first.proposals:
        add_proposed(tx, study, "WAITING", proposal, user_attrs)
    return studies.change(tx, study, warnings=[*study.warnings, *first.warnings])
