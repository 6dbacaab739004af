"""List studies with how far the search of each has come, as the page of all studies shows them."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from service.lifecycle.studies.list_studies import list_studies
from service.store import study_progress
from service.store.store import Store
from spezia.contract.study import Study, StudyOrder, StudyState


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """A study, and how its best value has come about."""

    study: Study
    baseline: float | None
    """Value of the baseline; ``None`` while it has none, and where the study has several objectives."""
    best_so_far: tuple[float, ...]
    """Best value of the trials up to a number, for at most about 32 ascending numbers. None where the study has several
    objectives or constraints, since there a better value need not be a better trial."""

    @property
    def gain(self) -> float | None:
        """By how much the best value is better than the baseline's; ``None`` where one of them is not known."""
        if self.study.best is None or self.baseline is None:
            return None
        return self.study.spec.objectives[0].sign * (self.baseline - self.study.best.value)


def list_progress(
    store: Store,
    limit: int,
    page_token: str | None,
    states: Collection[StudyState],
    name_contains: str,
    order_by: StudyOrder,
) -> tuple[list[StudyProgress], str | None]:
    """Return one page of studies, as `list_studies` does, and the token of the next page.

    Raises:
        Invalid: ``page_token`` was not made here, or is of a list in another order.
    """
    with store.reading() as tx:
        page = list_studies(store.within(tx), limit, page_token, states, (), name_contains, order_by)
        values = study_progress.of_studies(tx, [study.name for study in page.studies])
    return [_progress(study, values[study.name]) for study in page.studies], page.next_page_token


def _progress(study: Study, values: study_progress.Values) -> StudyProgress:
    spec = study.spec
    if len(spec.objectives) > 1:
        return StudyProgress(study=study, baseline=None, best_so_far=())
    is_up = spec.objectives[0].sign < 0
    reached = () if spec.constraints else (most if is_up else least for least, most in values.extremes)
    best = accumulate(reached, max if is_up else min)
    return StudyProgress(study=study, baseline=values.baseline, best_so_far=tuple(best))
