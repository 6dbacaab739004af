"""List the recommended search spaces (GET /v1/presets)."""

from service.search.presets.presets import PRESETS
from spezia.contract.preset import PresetList
from spezia.contract.tasks import Task


def list_presets(task: Task | None) -> PresetList:
    """Return all presets, or those of one task, in the order of the table of presets."""
    return PresetList(presets=[preset for preset in PRESETS.values() if task is None or task in preset.tasks])
