"""List the pretrained models that were uploaded (GET /v1/models)."""

from service.store import pretrained
from service.store.store import Store
from spezia.contract.model_files import UploadedModelList


def list_models(store: Store, limit: int, page_token: str | None) -> UploadedModelList:
    """Return one page of the models that the viewer has uploaded, or anybody if they see all, by SHA-256.

    Args:
        page_token: SHA-256 of the last model of the page before.
    """
    with store.reading() as tx:
        found = pretrained.page(tx, limit + 1, page_token or "")
    shown = found[:limit]
    return UploadedModelList(models=shown, next_page_token=shown[-1].sha256 if len(found) > limit else None)
