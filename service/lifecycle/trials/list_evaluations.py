"""List the evaluations of a trial, page by page (GET /v1/studies/{name}/trials/{number}/evaluations)."""

from service.lifecycle.page_token import read_token, write_token
from service.lifecycle.trials.find_trial import find_trial
from service.lifecycle.trials.show_trial import describe_evaluation
from service.store import attempts, measurements, studies
from service.store.store import Store
from spezia.contract.trial import EvaluationList

_ORDER = "step"


def list_evaluations(store: Store, name: str, number: int, limit: int, page_token: str | None) -> EvaluationList:
    """Return one page of the evaluations of a trial's last attempt; later pages stay with the attempt of the first.

    Raises:
        StudyNotFound: There is no such study.
        TrialNotFound: The study has no trial of this number.
        Invalid: ``page_token`` was not made here.
    """
    begun = None if page_token is None else read_token(page_token, _ORDER, _attempt)
    with store.reading() as tx:
        study = studies.find(tx, name)
        find_trial(tx, study, number)
        if begun is None:
            past = attempts.history(tx, study.uuid, "trial", number)
            begun = (past[-1].attempt if past else 0), 0
        attempt, after = begun
        rows = measurements.behind_step(tx, study.uuid, number, attempt, after, limit + 1)
    is_last = len(rows) <= limit
    return EvaluationList(
        evaluations=[describe_evaluation(row) for row in rows[:limit]],
        next_page_token=None if is_last else write_token(_ORDER, str(attempt), rows[limit - 1].step),
    )


def _attempt(text: str) -> int:
    attempt = int(text)
    if not 0 <= attempt < 2**31:
        raise ValueError("no number of an attempt")
    return attempt
