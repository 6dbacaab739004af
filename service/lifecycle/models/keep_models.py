"""Keep the models of a study's best trials, and drop every other model at once."""

from service.search.results.ranking import ranked
from service.store import artifacts, trials
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def keep_models(tx: Transaction, study: StudyRow, held: Lease) -> None:
    """Show the model that came with a trial's result if it is among the best, and forget those that are not.

    The best ``training.keep_models`` stay that fit into ``training.keep_models_bytes`` together, in the order of
    their trials; the very best one whatever its size. Of several objectives those of the Pareto front stay, the best
    by the first objective first. The caller removes the files after its commit.
    """
    models = artifacts.kept_models(tx, study.uuid)
    uploaded = artifacts.uploaded_model(tx, held)
    if uploaded is not None:
        models[held.number] = uploaded
    in_order = [
        models[trial.number] for trial in ranked(trials.all_of(tx, study), study.spec) if trial.number in models
    ]
    kept: set[str] = set()
    bytes_left = study.spec.training.keep_models_bytes
    for model in in_order[: study.spec.training.keep_models]:
        if kept and model.size_bytes > bytes_left:
            break
        kept.add(model.lease_id)
        bytes_left -= model.size_bytes
    for model in models.values():
        if model.lease_id not in kept:
            artifacts.forget(tx, model.lease_id)
    if held.lease_id in kept:
        artifacts.show(tx, held.lease_id)
