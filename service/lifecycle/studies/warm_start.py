"""Finished studies of the same owner with whose best trials a new study begins (``warm_start`` of its spec)."""

from service.errors import Invalid, StudyNotFound
from service.search.propose.rows import row_steps
from service.search.warm_start.likeness import is_comparable, is_same_task, likeness, skill_of
from service.search.warm_start.portfolio import MAX_TAKEN, PastStudy
from service.store import past_trials, studies
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from spezia.contract.facts import Facts
from spezia.contract.problem import FieldProblem
from spezia.contract.study_spec import StudySpec
from spezia.contract.warm_start import MAX_STUDIES

N_LOOKED_AT = 200
"""Number of finished studies of an owner and a task that are compared, those that ended last."""


def check_warm_start(tx: Transaction, spec: StudySpec) -> None:
    """Check that each study that ``warm_start`` names can be begun from.

    Raises:
        Invalid: There is no such study of the viewer's, it is of another task or kind, or it has not ended with a
            COMPLETE trial.
    """
    names = spec.warm_start if isinstance(spec.warm_start, list) else []
    found = ((index, name, _why_not(tx, spec, name)) for index, name in enumerate(names))
    errors = [
        FieldProblem(field=f"warm_start.{index}", message=message, value=name)
        for index, name, message in found
        if message is not None
    ]
    if errors:
        raise Invalid(*errors)


def past_studies(tx: Transaction, study: StudyRow, facts: Facts) -> list[PastStudy]:
    """Return the finished studies with whose trials a study may begin, the one that is most alike first, with trials.

    Args:
        facts: Those of the study, which says nothing of likeness without them.
    """
    comparable = _comparable(tx, study.owner, study.spec) if study.spec.starts_warm else []
    with_facts = [(one, one.facts) for one in comparable if one.facts is not None]
    # the study's own probe runs beside its first trials; an earlier study of the same may know what it will find
    skill = next((skill_of(other) for _, other in with_facts if is_same_task(facts, other) and other.similarity), None)
    alike = [(likeness(facts, other, skill), one, other) for one, other in with_facts]
    alike.sort(key=lambda each: -each[0])  # of equals the one that ended last
    nearest = alike[:MAX_STUDIES]
    steps = {one.study_id: row_steps(one.spec, 1) for _, one, _ in nearest}
    trials = past_trials.best_and_first(tx, steps, study.spec.objectives[0].sign)
    return [
        PastStudy(name=one.name, spec=one.spec, facts=other, likeness=alikeness, trials=trials[one.study_id])
        for alikeness, one, other in nearest
    ]


def describe_warm_start(store: Store, spec: StudySpec) -> str | None:
    """Say with trials of which studies a study of the viewer's would begin; ``None`` where its spec asks for none.

    Raises:
        Invalid: As `check_warm_start` finds.
    """
    if not spec.starts_warm:
        return None
    with store.reading() as tx:
        check_warm_start(tx, spec)
        found = _comparable(tx, tx.viewer.owner if tx.viewer else None, spec)
    if not found:
        return (
            "there is no finished study of yours with the same task, method and metric and a searched parameter in "
            "common: the study begins as without warm_start"
        )
    n_left = spec.n_trials - spec.baseline - len(spec.enqueue)
    if n_left < 1:
        return (
            f"n_trials = {spec.n_trials} leaves no room for trials of finished studies beside the baseline and what is "
            "enqueued; raise it"
        )
    listed = ", ".join(one.name for one in found[:MAX_STUDIES])
    more = f" and {len(found) - MAX_STUDIES} others" if len(found) > MAX_STUDIES else ""
    n_taken = min(MAX_TAKEN, n_left)
    return (
        f"behind what is enqueued, up to {n_taken} of the best trials of {listed}{more} run first; "
        "which ones is decided when a worker has prepared the study and knows how alike the data are"
    )


def _comparable(tx: Transaction, owner: str | None, spec: StudySpec) -> list[StudyRow]:
    names = spec.warm_start if isinstance(spec.warm_start, list) else None
    found = studies.finished(tx, owner, spec.task, N_LOOKED_AT, names)
    return [one for one in found if is_comparable(spec, one.spec)]


def _why_not(tx: Transaction, spec: StudySpec, name: str) -> str | None:
    """Why a study cannot begin with trials of the study of a name; ``None`` if it can."""
    try:
        named = studies.find(tx, name)
    except StudyNotFound:
        named = None
    if named is None or named.owner != (tx.viewer.owner if tx.viewer else None):
        return f"there is no study {name!r} of yours; name finished studies of your own, or give auto"
    if named.spec.task != spec.task:
        return f"study {name!r} is of the task {named.spec.task}, and this one of {spec.task}; drop it"
    if not is_comparable(spec, named.spec):
        return (
            f"study {name!r} does not compare with this one: both need one objective of the same metric, a method in "
            "common, and a searched parameter in common; drop it"
        )
    if not studies.finished(tx, named.owner, spec.task, 1, [name]):
        return f"study {name!r} has not ended with a COMPLETE trial; wait for its end, or drop it"
    return None
