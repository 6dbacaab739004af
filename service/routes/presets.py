"""Search spaces that we recommend."""

from fastapi import APIRouter

from service.lifecycle.list_presets import list_presets
from spezia.contract.preset import PresetList
from spezia.contract.tasks import Task

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("")
def get_presets(task: Task | None = None) -> PresetList:
    """Search spaces and defaults per task, method and size of data, each line with its source."""
    return list_presets(task)
