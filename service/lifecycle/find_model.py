"""Where the kept model of a study lies."""

from pathlib import Path

from service.errors import NoModel
from service.lifecycle.model_directory import model_directory
from service.store import studies
from service.store.transaction import Store


def find_model(store: Store, folder: Path, name: str) -> Path:
    """The directory of the best trial's model, which ``from_pretrained`` opens.

    Raises:
        StudyNotFound: There is no such study.
        NoModel: None is kept, or none yet.
    """
    with store.reading() as tx:
        directory = model_directory(tx, folder, studies.find(tx, name))
    if directory is None:
        raise NoModel(
            f"study {name!r} has no model: that of the best COMPLETE trial is kept, unless training.keep_models is 0"
        )
    return directory
