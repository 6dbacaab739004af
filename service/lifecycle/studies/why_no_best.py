"""Why a study has no best trial, in words."""

from service.search.results.ranking import nearest_miss
from service.store.studies import StudyRow
from service.store.trials import FrozenTrial


def why_no_best(study: StudyRow, seen: list[FrozenTrial]) -> str:
    """Say what is missing: a trial that has completed, or one that meets the constraints."""
    missed = nearest_miss(seen)
    if missed is not None:
        number, by = missed
        limits = ", ".join(f"{name} by {excess:.4g}" for name, excess in by.items())
        return (
            f"no COMPLETE trial of study {study.name!r} meets its constraints; the nearest is trial {number}, which "
            f"misses {limits}. Raise n_trials, or post a new study with wider constraints"
        )
    if study.failure is not None:
        return f"study {study.name!r} failed before a trial completed: {study.failure.message}"
    if study.has_ended:
        return f"study {study.name!r} ended as {study.state} and no trial completed"
    return f"no trial of study {study.name!r} has completed yet; ask again later"
