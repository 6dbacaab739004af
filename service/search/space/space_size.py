"""The size of a search space, and how many trials it deserves."""

from service.search.space.allowed import n_values, ranges_of
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Choices
from spezia.contract.remember import remember
from spezia.contract.space import in_order
from spezia.contract.study_spec import StudySpec
from spezia.contract.wire import MAX_EXACT

_ENOUGH = ((1, 1), (3, 9), (6, 20))
_ENOUGH_FOR_MORE = 40
"""Up to so many parameters, at least so many trials. Our adaptation of the deep learning tuning playbook (Godbole et
al. 2023: below 10 trials search the rate alone, from 10 one more, from 25 more) to fine-tuning, whose defaults are
better known."""

SEARCH_FIRST = (
    "learning_rate",
    "method",
    "epochs",
    "frozen_fraction",
    "frozen_layers",
    "lora_rank",
    "weight_decay",
    "warmup_ratio",
    "lr_schedule",
)
"""Parameters that are worth searching first when trials are few; dropout, batch and the rest come after."""

_MAX_STEPS = 2_000
"""How often a case may be carried over to the next parameter until counting is given up: it takes 30 ms at most."""


def n_searched(spec: StudySpec) -> int:
    """Return the number of parameters that can differ between trials."""
    return sum(not is_constant(spec, name) for name in spec.search_space)


def is_constant(spec: StudySpec, name: str) -> bool:
    """Return whether a parameter of the search space has a single value, in all its ranges together."""
    ranges = ranges_of(spec, name)
    return len(ranges) == 1 and n_values(ranges[0]) == 1


# asked for five times when a spec is validated
@remember(8)
def space_size(spec: StudySpec) -> int | None:
    """Return how many different trials there can be; ``None``: a range is continuous, or they are too many to count."""
    ordered = in_order(spec.search_space)
    sizes = [n for one in ordered if (n := n_values(one.distribution)) is not None]
    if len(sizes) < len(ordered):
        return None
    parents = {name for one in ordered for name in one.distribution.when}
    known = tuple((name, value) for name, value in spec.fixed.items() if name in parents)
    # how many choices of the parameters seen so far lead to each choice of those that others depend on
    cases: dict[tuple[tuple[str, ParamValue], ...], int] = {known: 1}
    n_steps = 0
    for one, n in zip(ordered, sizes, strict=True):
        n_steps += len(cases)
        if n_steps > _MAX_STEPS:
            return None
        later: dict[tuple[tuple[str, ParamValue], ...], int] = {}
        for case, count in cases.items():
            if not one.is_active(dict(case)):
                later[case] = later.get(case, 0) + count
            elif one.name in parents and isinstance(one.distribution, Choices):
                later |= {(*case, (one.name, choice)): count for choice in one.distribution.choices}
            else:
                later[case] = later.get(case, 0) + count * n
        cases = later
    size = sum(cases.values())
    return size if size <= MAX_EXACT else None


def trials_advised(spec: StudySpec) -> int:
    """Return how many trials the search space of a spec deserves; a small discrete one no more than it holds."""
    enough = _enough(n_searched(spec))
    size = space_size(spec)
    return enough if size is None else min(enough, size)


def has_room(spec: StudySpec) -> bool:
    """Return whether the trials of a spec can tell one more parameter apart."""
    return spec.n_trials >= _enough(n_searched(spec) + 1)


def n_advised(n_trials: int) -> int:
    """Return how many parameters ``n_trials`` trials can tell apart."""
    return max(up_to for up_to, enough in _ENOUGH if enough <= n_trials)


def _enough(n_parameters: int) -> int:
    return next((n_trials for up_to, n_trials in _ENOUGH if n_parameters <= up_to), _ENOUGH_FOR_MORE)
