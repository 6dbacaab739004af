"""Tell values that are far worse than nearly all others, beside which a plot would show the others as one line."""

import math
from collections.abc import Sequence


def far_worse_from(values: Sequence[float], sign: int) -> float:
    """Return the value beyond which a few values lie far from the others; infinity (times ``sign``) where none do.

    It is as far behind the ninth decile as the first decile is before it, where the worst value is more than three
    times as far behind. `valueRange` in `curves.js` cuts learning curves by the same rule.

    Args:
        values: Finite values, in any order.
        sign: 1 where less is better, else -1.
    """
    in_order = sorted(sign * value for value in values)
    if not in_order:
        return sign * math.inf
    first, ninth = (in_order[round(share * (len(in_order) - 1))] for share in (0.1, 0.9))
    body = ninth - first
    return sign * (ninth + body if body > 0 and in_order[-1] - ninth > 3 * body else math.inf)
