"""What an ended study needs before it can run more trials."""

from service.errors import StudyEnded
from service.lifecycle.studies.state_machine import spent_budget
from service.store import studies
from service.store.studies import StudyRow
from service.store.transaction import Transaction

_TESTED = (
    "the study was extended after its winner had been scored on the test split: that split is not unseen any more, "
    "and a later score is no proof"
)


def reopen(tx: Transaction, study: StudyRow) -> StudyRow:
    """Let a locked study start more trials; one that has not ended is returned as it is.

    Raises:
        StudyEnded: It is stopping, has failed, or has used up a budget; the reason says what to do.
    """
    if study.state in ("running", "paused"):
        return study
    if study.state == "stopping":
        raise StudyEnded(f"study {study.name!r} is stopping; try again when its running trials have ended")
    if study.state == "failed":
        raise StudyEnded(f"study {study.name!r} has failed, and would again; correct its cause and post a new study")
    if reason := spent_budget(tx, study):
        raise StudyEnded(f"study {study.name!r} cannot go on: {reason}")
    warnings = study.warnings if study.test_metrics is None else [*study.warnings, _TESTED]
    return studies.change(
        tx,
        study,
        state="running",
        ending=None,
        failure=None,
        finished_at=None,
        is_scored=False,
        has_card=False,
        test_metrics=None,
        warnings=warnings,
    )
