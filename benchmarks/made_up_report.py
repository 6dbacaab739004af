"""What simulated workers report instead of training."""

import math
from typing import Any

from tests.service.hand_worker import evaluation

BEST_EXPONENT = -4.5
"""Power of ten of the learning rate whose loss is least."""


def made_up_report(held: dict[str, Any], step: int, *, is_last: bool) -> dict[str, Any]:
    """Return the evaluation of a trial whose loss falls with each step and depends on its learning rate."""
    exponent = math.log10(held["params"]["learning_rate"])
    value = 0.2 + 0.1 * (exponent - BEST_EXPONENT) ** 2 + 0.5 / step
    return evaluation(held, step, value, final=is_last)
