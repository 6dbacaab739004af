"""GET /v1/leases/{lease_id}/model/{file}: what the holder of a score lease is to score."""

from pathlib import Path

from service.errors import LeaseLost, NoModel
from service.store import artifacts, leases
from service.store.store import Store


def find_leased_model_file(store: Store, folder: Path, lease_id: str, token: str, file: str) -> Path:
    """One file of the model that the holder of a ``score`` lease is to score.

    Raises:
        LeaseLost: The lease is stale.
        NoModel: The model has no such file.
    """
    with store.reading() as tx:
        held = tx.ask(leases.find(lease_id, token))
        if held is None:
            raise LeaseLost
        model = artifacts.kept_models(tx, held.study_uuid).get(held.number)
    if model is None or file not in model.files:
        raise NoModel(f"the model of trial {held.number} has no file {file!r}")
    return folder / model.lease_id / file
