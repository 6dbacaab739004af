"""Learning-rate schedules: how the learning rate of a trial goes from step to step, once it is warmed up.

They are those of transformers' ``SchedulerType`` that need no metric (``reduce_lr_on_plateau`` and ``greedy`` do). To
add one, add a line to ``_ALL``: hyperparameters.py offers its name as ``lr_schedule``, and the trainer asks
transformers for it with the arguments of `schedule_arguments`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One learning-rate schedule of transformers, with the arguments that it is given."""

    name: str
    """Name of the schedule in transformers, and value of ``lr_schedule``."""
    meaning: str
    """How the learning rate goes after warm-up, with the source of the arguments."""
    arguments: Mapping[str, float | str] = field(default_factory=dict)
    """Arguments that have no default in transformers, or none that suits."""
    decay_share: float | None = None
    """Share of all optimizer steps over which the rate decays, at the end; ``None``: the schedule takes no such
    number of steps."""


_ALL = (
    Schedule(name="linear", meaning="It falls in a straight line to 0."),
    Schedule(name="cosine", meaning="It falls along half a cosine to 0."),
    Schedule(
        name="cosine_with_restarts",
        meaning="It falls along half a cosine to 0, returns to the peak, and falls again (Loshchilov & Hutter 2017).",
        arguments={"num_cycles": 2},  # with transformers' own 1 there is no restart, and it equals cosine
    ),
    Schedule(
        name="polynomial",
        meaning="It falls along a parabola to 1e-7 (You et al. 2017).",
        # with transformers' own power of 1 it equals linear; the end is transformers' own
        arguments={"power": 2.0, "lr_end": 1e-7},
    ),
    Schedule(name="constant", meaning="It stays the same from the first step on; there is no warm-up."),
    Schedule(name="constant_with_warmup", meaning="It stays the same after warm-up."),
    Schedule(
        name="inverse_sqrt",
        meaning="It falls with the inverse square root of the step, the more slowly the longer the warm-up; without "
        "warm-up it takes 10,000 steps to fall to 71 %.",
    ),
    Schedule(
        name="cosine_with_min_lr",
        meaning="It falls along half a cosine to a tenth of the peak (Hoffmann et al. 2022).",
        arguments={"min_lr_rate": 0.1},
    ),
    Schedule(
        name="cosine_warmup_with_min_lr",
        meaning="It falls as with cosine_with_min_lr, but one step ahead, so that no step is made at a rate of 0.",
        arguments={"min_lr_rate": 0.1},
    ),
    Schedule(
        name="warmup_stable_decay",
        meaning="It stays the same until the last fifth of the steps and then falls to 0 as 1 minus a square root "
        "(Hägele et al. 2024).",
        arguments={"decay_type": "1-sqrt"},
        decay_share=0.2,
    ),
)

SCHEDULES = {schedule.name: schedule for schedule in _ALL}
"""All schedules by name."""


def schedule_arguments(name: str, n_steps: int, warmup_ratio: float) -> dict[str, float | str]:
    """Return transformers' ``lr_scheduler_kwargs`` of schedule ``name`` over ``n_steps`` optimizer steps.

    The decay of ``warmup_stable_decay`` never begins before the end of warm-up.
    """
    schedule = SCHEDULES[name]
    if schedule.decay_share is None:
        return dict(schedule.arguments)
    n_after_warmup = n_steps - math.ceil(warmup_ratio * n_steps)
    n_decay = min(math.ceil(schedule.decay_share * n_steps), n_after_warmup)
    return {"num_decay_steps": n_decay, **schedule.arguments}
