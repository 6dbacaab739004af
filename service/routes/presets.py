"""The route of the recommended search spaces."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.lifecycle.list_presets import list_presets
from spezia.contract.preset import PresetList
from spezia.contract.tasks import Task

router = APIRouter(prefix="/v1/presets", tags=["presets"])


@router.get("")
def get_presets(
    task: Annotated[Task | None, Query(description="Task of the presets; when absent, all presets are listed.")] = None,
) -> PresetList:
    """List recommended search spaces and defaults per task, method and size of data, each line with its source."""
    return list_presets(task)
