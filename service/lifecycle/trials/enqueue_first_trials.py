"""Enqueue the trials that a study begins with: the baseline, what its spec enqueues, trials of earlier studies, and
those of pilots.

They are proposed before the transaction that accepts the study's facts and adds them: a thousand of them take half a
second, in which nobody else could write to SQLite.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.lifecycle.trials.add_proposed import add_proposed
from service.search.baseline import baseline
from service.search.lint.lint_facts import lint_facts
from service.search.propose.propose import Proposal, ProposalRequest, waiting_trial
from service.search.propose.proposer import Proposer
from service.search.warm_start.portfolio import MAX_TAKEN, PastStudy, portfolio
from service.store import studies, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.facts import Facts
from spezia.contract.study_spec import Params

log = logging.getLogger(__name__)

UserAttrs = dict[str, Any]
"""User attributes of a trial."""


@dataclass(frozen=True, kw_only=True)
class FirstTrials:
    """The trials that a study begins with, proposed and not yet added."""

    number: int
    """Number of the first one: that of trials which the study had when they were proposed."""
    proposals: list[tuple[Proposal, UserAttrs]]
    """Each proposal with the user attributes of its trial."""
    warnings: list[str]
    """What to think about again, now that the facts are known."""


def propose_first_trials(
    proposer: Proposer,
    study: StudyRow,
    facts: Facts,
    past: Sequence[PastStudy],
    seen: Sequence[FrozenTrial],
    study_system_attrs: Mapping[str, Any],
) -> FirstTrials:
    """Propose the first trials of a study that has the trials ``seen``: none, unless stock Optuna has added some.

    A sampler that has seen nothing only fills by chance what is left out.

    Args:
        past: Finished studies that trials are taken from, the one that is most alike first.
    """
    spec = study.spec
    warnings = [*facts.warnings, *map(str, lint_facts(spec, facts))]
    wanted: list[tuple[Params, UserAttrs]] = [(params, {}) for params in spec.enqueue]
    if spec.baseline:
        start = baseline(spec, facts)
        warnings += start.warnings
        wanted.insert(0, (start.params, {trials.BASELINE: True}))
    first = _Proposed(proposer, study, seen, study_system_attrs)
    for params, user_attrs in wanted:
        first.add(params, user_attrs)
    known = [proposal.params for proposal, _ in first.proposals]
    taken = portfolio(spec, past, min(MAX_TAKEN, spec.n_trials - first.n_trials), known)
    for place, one in enumerate(taken):
        first.add(one.params, {trials.TAKEN_FROM: one.source.model_dump() | {"place": place}})
    if spec.start_small is not None:
        # pilots need their params now; a sampler has seen nothing, and so would draw the same ones later
        for _ in range(spec.start_small.trials - first.n_trials):
            first.add({}, {})
    return FirstTrials(number=len(seen), proposals=first.proposals, warnings=warnings)


class _Proposed:
    """Trials that are proposed one after the other, each beside those before it."""

    def __init__(
        self, proposer: Proposer, study: StudyRow, seen: Sequence[FrozenTrial], study_system_attrs: Mapping[str, Any]
    ) -> None:
        self._proposer, self._study = proposer, study
        self._trials, self._study_system_attrs = list(seen), dict(study_system_attrs)
        self.proposals: list[tuple[Proposal, UserAttrs]] = []

    @property
    def n_trials(self) -> int:
        """Number of trials that the study has with these."""
        return len(self._trials)

    def add(self, fixed: Params, user_attrs: UserAttrs) -> None:
        """Propose a trial of ``fixed`` params; nothing is added where a grid ends before."""
        request = ProposalRequest(
            spec=self._study.spec,
            study_name=self._study.name,
            number=len(self._trials),
            trials=self._trials,
            fixed=fixed,
            study_system_attrs=self._study_system_attrs,
        )
        proposal = self._proposer.propose(request)
        if proposal is not None:
            self._trials.append(waiting_trial(len(self._trials), proposal))
            self._study_system_attrs |= proposal.study_system_attrs
            self.proposals.append((proposal, user_attrs))


def enqueue_first_trials(tx: Transaction, study: StudyRow, first: FirstTrials) -> StudyRow:
    """Add a study's first trials, in the transaction that accepts its facts, so that no study has half of them."""
    for proposal, user_attrs in first.proposals:
        added = add_proposed(tx, study, "WAITING", proposal, user_attrs)
        if (source := trials.taken_from(added)) is not None:
            fields = {
                "study": study.name,
                "trial": added.number,
                "from_study": source.study,
                "from_trial": source.number,
            }
            tx.after_commit.append(partial(log.info, "a trial of an earlier study runs first", extra=fields))
    return studies.change(tx, study, warnings=[*study.warnings, *first.warnings])
