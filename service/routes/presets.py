"""Search spaces that we recommend."""

from fastapi import APIRouter

from service.contract.preset import PresetList
from service.contract.tasks import Task
from service.lifecycle.list_presets import list_presets

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("")
def get_presets(task: Task | None = None) -> PresetList:
    """Search spaces and defaults per task, method and size of data, each line with its source."""
    return list_presets(task)
