"""The trials that lead a study: those of the search, or the one that runs under fresh seeds have confirmed."""

from collections.abc import Sequence

from service.search.results.ranking import leaders
from service.store.studies import StudyRow
from service.store.trials import FrozenTrial


def confirmed_leaders(study: StudyRow, seen: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the confirmed winner alone; while there is none, the `leaders` of the search.

    Args:
        seen: All trials of the study.
    """
    winner = None if study.confirmation is None else study.confirmation.winner
    if winner is None:
        return leaders(seen, study.spec)
    return [trial for trial in seen if trial.number == winner]
