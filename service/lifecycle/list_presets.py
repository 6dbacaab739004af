"""GET /v1/presets: the search spaces that we recommend."""

from service.contract.preset import PresetList
from service.contract.tasks import Task
from service.search.presets import PRESETS


def list_presets(task: Task | None) -> PresetList:
    """Return all presets, or those of one task, in the order of the table."""
    return PresetList(presets=[preset for preset in PRESETS.values() if task is None or task in preset.tasks])
