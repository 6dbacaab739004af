"""Learning-rate schedules."""

import math

SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
)
"""Schedules of transformers' ``SchedulerType`` that need no metric (``reduce_lr_on_plateau`` and ``greedy`` do)."""


MINIMUM_SHARE = 0.1
"""Where the cosine schedules ``…_with_min_lr`` end, as a share of the peak (Hoffmann et al. 2022)."""


STABLE_DECAY_SHARE = 0.2
"""Share of the optimizer steps over which ``warmup_stable_decay`` decays, at the end (Hägele et al. 2024)."""


CYCLES = 2
"""Cosines of ``cosine_with_restarts``, so one restart (Loshchilov & Hutter 2017); with transformers' own 1 there is
none and it equals ``cosine``."""


POWER = 2.0
"""Exponent of ``polynomial`` (You et al. 2017); with transformers' own 1 it equals ``linear``."""


def schedule_arguments(schedule: str, n_steps: int, warmup_ratio: float) -> dict[str, float | str]:
    """What a schedule over ``n_steps`` optimizer steps is given that has no default in transformers, or none of use.

    Returns:
        transformers' ``lr_scheduler_kwargs``; the decay of ``warmup_stable_decay`` has the shape
        1 - sqrt (Hägele et al. 2024) and never begins before the end of warm-up.
    """
    if schedule in ("cosine_with_min_lr", "cosine_warmup_with_min_lr"):
        return {"min_lr_rate": MINIMUM_SHARE}
    if schedule == "cosine_with_restarts":
        return {"num_cycles": CYCLES}
    if schedule == "polynomial":
        return {"power": POWER}
    if schedule == "warmup_stable_decay":
        n_after_warmup = n_steps - math.ceil(warmup_ratio * n_steps)
        n_decay = min(math.ceil(STABLE_DECAY_SHARE * n_steps), n_after_warmup)
        return {"num_decay_steps": n_decay, "decay_type": "1-sqrt"}
    return {}
