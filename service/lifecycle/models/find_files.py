"""Where the kept model of a study lies."""

from pathlib import Path

from service.errors import NoModel
from service.search.results.ranking import best_trial
from service.store import artifacts, studies, trials
from service.store.store import Store


def find_model(store: Store, folder: Path, name: str) -> Path:
    """The directory of the best trial's model, which ``from_pretrained`` opens.

    Raises:
        StudyNotFound: There is no such study.
        NoModel: None is kept, or none yet, or there are several objectives and so no single best.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        models = artifacts.kept_models(tx, study.uuid)
        if len(study.spec.objectives) > 1:
            raise NoModel(_how_to_choose(name, sorted(models)))
        best = best_trial(trials.all_of(tx, study), study.spec)
    if best is None or best.number not in models:
        raise NoModel(
            f"study {name!r} has no model: that of the best COMPLETE trial is kept, unless training.keep_models is 0"
        )
    return folder / models[best.number].lease_id


def _how_to_choose(name: str, numbers: list[int]) -> str:
    kept = f"of trials {', '.join(map(str, numbers))}" if numbers else "of none yet"
    return (
        f"study {name!r} has several objectives and so no single best model: choose a trial of GET "
        f"/v1/studies/{name}/best and fetch its files from /v1/studies/{name}/trials/{{number}}/artifacts. Models are "
        f"kept {kept} (training.keep_models)"
    )
