"""GET …/trials/{number}/artifacts/{file}."""

from pathlib import Path

from service.errors import NoModel
from service.lifecycle.trials.find_study_of_trial import find_study_of_trial
from service.store import artifacts
from service.store.store import Store


def find_artifact(store: Store, folder: Path, name: str, number: int, file: str) -> Path:
    """One of these files.

    Raises:
        StudyNotFound, TrialNotFound: There is no such trial.
        NoModel: Its model is not kept, or has no such file.
    """
    with store.reading() as tx:
        rows = artifacts.of_trial(tx, find_study_of_trial(tx, name, number), number)
    for row in rows:
        if row.file == file:
            return folder / str(row.lease_id) / file
    have = ", ".join(row.file for row in rows) or "nothing: training.keep_models says how many models are kept"
    raise NoModel(f"trial {number} of study {name!r} has no file {file!r}; it has {have}")
