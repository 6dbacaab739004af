"""Export the trials of a study as CSV, one row per trial (GET /v1/studies/{name}/trials.csv)."""

import csv
import io
from collections.abc import Iterator

from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.list_trials import list_trials
from service.store.store import Store
from spezia.contract.study_spec import StudySpec
from spezia.contract.trial import Trial

_PAGE = 1000
_FIXED = ("number", "state", "value", "step", "epoch", "baseline", "retry_of", "started_at", "finished_at")
_PAUSED_RUNG = "paused.rung"


def export_csv(store: Store, name: str) -> Iterator[str]:
    """Return the lines of a CSV table of all trials: first the header, then each trial, read page by page.

    A paused trial has its rung in ``paused.rung``. Params are columns ``params.…``, several objectives ``values.…``,
    constraints that are not met ``violations.…``; a text that a spreadsheet would take for a formula begins with an
    apostrophe.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    spec = show_study(store, name).spec
    return _lines(store, name, _columns(spec))


def _columns(spec: StudySpec) -> list[tuple[str, str]]:
    """Which entries of which dictionaries of a trial are columns."""
    metrics = [one.metric for one in spec.objectives] if len(spec.objectives) > 1 else []
    return [
        *(("values", metric) for metric in metrics),
        *(("violations", constraint.name) for constraint in spec.constraints),
        *(("params", param) for param in spec.search_space),
    ]


def _lines(store: Store, name: str, columns: list[tuple[str, str]]) -> Iterator[str]:
    yield _line([*_FIXED, "failure_class", "failure", _PAUSED_RUNG, *(".".join(column) for column in columns)])
    token: str | None = None
    while True:
        page = list_trials(store, name, _PAGE, token, (), "number")
        yield from (_line(_row(trial, columns)) for trial in page.trials)
        token = page.next_page_token
        if token is None:
            return


def _row(trial: Trial, columns: list[tuple[str, str]]) -> list[object]:
    shown = trial.model_dump(mode="json")
    failure = (trial.failure.failure_class, trial.failure.message) if trial.failure else ("", "")
    rung = "" if trial.paused is None else trial.paused.rung
    return [*(shown[field] for field in _FIXED), *failure, rung, *(shown[kind].get(entry) for kind, entry in columns)]


def _line(row: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([_harmless(field) for field in row])
    return line.getvalue()


def _harmless(field: object) -> object:
    return f"'{field}" if isinstance(field, str) and field.startswith(("=", "+", "-", "@", "\t", "\r")) else field
