"""Routes of uploaded pretrained models."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response, status

from service.dependencies import PartsDep, StoreDep
from service.errors import Invalid, ModelInUse, ModelNotFound, TooLarge
from service.files.stored_file import MODELS
from service.lifecycle.pretrained.find_model import find_model
from service.lifecycle.pretrained.list_models import list_models
from service.lifecycle.pretrained.receive_model import ModelUpload
from service.lifecycle.pretrained.remove_model import remove_model
from service.lifecycle.pretrained.upload_model import upload_model
from service.routes.parameters import Limit, PageToken
from service.routes.receive_file import receive_file
from service.routes.responses import created, link, problems
from service.routes.threads import FOR_KEEPING
from spezia.contract.model_files import UploadedModel, UploadedModelList

router = APIRouter(prefix="/v1/models", tags=["models"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the model, over names and contents.")]
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    openapi_extra={"requestBody": {"required": True, "content": {"application/x-tar": _BINARY}}},
    responses=problems(Invalid, TooLarge)
    | created("The model.", model=link("get_model", sha256="sha256"), delete=link("delete_model", sha256="sha256"))
    | {200: {"description": "The same model: it was uploaded before.", "model": UploadedModel}},
)
async def post_model(request: Request, parts: PartsDep, response: Response) -> UploadedModel:
    """Upload a pretrained model as a tar of its folder; name it `sha256:…` as `model` in a study.

    It may hold weights in safetensors, `config.json` and the tokenizer's files as `save_pretrained` writes them, and
    nothing else: no code, and no config that asks for some. All of it is kept or nothing. The same content again
    answers 200. A model is its owner's: the studies of others cannot name it. It stays until it is deleted.
    """
    upload = ModelUpload(parts.files.scratch(MODELS), parts.max_model_bytes)
    async with receive_file(request, upload):
        model, is_new = await FOR_KEEPING.run(upload_model, parts.store, parts.files, upload)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    response.headers["Location"] = f"/v1/models/{model.sha256}"
    return model


@router.get("", responses=problems(Invalid))
def get_models(store: StoreDep, limit: Limit = 100, page_token: PageToken = None) -> UploadedModelList:
    """List the models that you have uploaded, by SHA-256; an admin sees those of everybody, each once."""
    return list_models(store, limit, page_token)


@router.get("/{sha256}", responses=problems(ModelNotFound))
def get_model(sha256: Sha256, store: StoreDep) -> UploadedModel:
    """Describe a model that you have uploaded, with its files."""
    return find_model(store, sha256)


@router.delete("/{sha256}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(ModelNotFound, ModelInUse))
def delete_model(sha256: Sha256, parts: PartsDep) -> None:
    """Delete a model that you have uploaded; an admin deletes it for everybody who has.

    While studies that have not ended fine-tune it, or replay a trial, the answer is 409 with their names. Ended studies
    keep their trials and models; to go on with one, upload the model again.
    """
    remove_model(parts.store, parts.files, sha256)
