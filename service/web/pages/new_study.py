"""The page on which a study begins: from a dropped table to what is posted."""

import json
from typing import Any

from fastapi import APIRouter, Response

from service.web.frame import PageDep
from spezia.common.first_choices import CHAT_MODEL, EPOCHS, FEW_ROWS, MODELS, N_TRIALS, SMALL_DATA_ROWS, preset_for
from spezia.common.table_head import HEAD_BYTES
from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.tasks import TASKS, TRAINED_TASKS

router = APIRouter()


@router.get("/new")
def get_page(page: PageDep) -> Response:
    """Ask for data, task, model and ranges, and post them as a study."""
    return page.render("new_study.html", choices=json.dumps(_choices()))


def _choices() -> dict[str, Any]:
    """Return what the page's script offers: all of it is the contract's, or what `spezia init` begins with."""
    return {
        "tasks": {
            task: {
                "columns": TASKS[task].columns,
                "metrics": ["validation_loss", *TASKS[task].metrics],
                "model": MODELS[task],
                "presets": [[rows, preset_for(task, rows)] for rows in (0, FEW_ROWS, SMALL_DATA_ROWS)],
            }
            for task in TRAINED_TASKS
        },
        "chatModel": CHAT_MODEL,
        "headBytes": HEAD_BYTES,
        "epochs": EPOCHS,
        "nTrials": N_TRIALS,
        "parameters": {
            name: {"meaning": one.meaning, "allowed": one.allowed, "type": one.type}
            for name, one in HYPERPARAMETERS.items()
        },
    }
