"""Warm starts: trials that a study takes from finished studies and runs first."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from spezia.contract.objectives import Objective
from spezia.contract.samplers import GridSampler, Sampler
from spezia.contract.tasks import Task
from spezia.contract.wire import ONE, SEVERAL, Count, Name, Reply, one_or_several, refuse

MAX_STUDIES = 8
"""Largest number of finished studies that a warm start looks into."""


def _want_a_list(value: object) -> object:
    """Say to whoever gives one name as text that names stand in a list."""
    if isinstance(value, str) and value not in ("auto", "none"):
        message = f"choose from auto, none; names of studies stand in a list: [{value!r}]"
        refuse("WarmStart", [((), message, value)])
    return value


WarmStart = Annotated[
    Annotated[Literal["auto", "none"], BeforeValidator(_want_a_list), Tag(ONE)]
    | Annotated[list[Name], Field(min_length=1, max_length=MAX_STUDIES), Tag(SEVERAL)],
    Discriminator(one_or_several),
]
"""Studies with whose trials a study begins: ``auto``, ``none``, or names of finished studies."""


class TakenFrom(Reply):
    """The trial of an earlier study whose params a trial runs; that study may have been deleted since."""

    study: str
    """Name of the earlier study."""
    number: Count
    """Number of the trial within the earlier study, from 0."""


def why_no_warm_start(task: Task, objectives: Sequence[Objective], sampler: Sampler) -> str | None:
    """Return why a study cannot begin with trials of others, with what to do about it; ``None`` where it can."""
    if task == "script":
        return (
            "what the params of a script mean is not known, so none are taken from other studies; list some in enqueue"
        )
    if len(objectives) > 1:
        return "trials of other studies are chosen by one objective, and this study has several; list params in enqueue"
    if isinstance(sampler, GridSampler):
        return "a grid tries each of its points anyway; drop warm_start, or use another sampler"
    return None
