"""The trials that lead a study: those of the search, or the one that runs under fresh seeds have confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from service.search.results.ranking import leaders
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.study_spec import StudySpec


@dataclass(frozen=True)
class _Leading:
    """The leaders of a study among some of its finished trials; all of one study are equal as kinds of summaries."""

    spec: StudySpec = field(compare=False)
    trials: tuple[FrozenTrial, ...] = field(default=(), compare=False)

    def __call__(self) -> "_Leading":
        """Return the leaders among no trials."""
        return self

    def extended(self, trials: Sequence[FrozenTrial]) -> "_Leading":
        """Return the leaders among these trials and ``trials``: no other can be one."""
        return replace(self, trials=tuple(leaders([*self.trials, *trials], self.spec)))


def confirmed_leaders(tx: Transaction, study: StudyRow) -> list[FrozenTrial]:
    """Return the confirmed winner alone; while there is none, the `leaders` of the search, without going through
    trials whose place is known."""
    winner = None if study.confirmation is None else study.confirmation.winner
    if winner is None:
        return list(tx.trials.summary(study.study_id, _Leading(study.spec)).trials)
    confirmed = trials.find(tx, study, winner)
    return [] if confirmed is None else [confirmed]
