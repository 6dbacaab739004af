"""The dimensions of a search space, and which of them a trial has.

A range may be conditional on other parameters (``when``). Where one parameter needs several ranges, such as a learning
rate for each ``method``, its entry is a list of ranges of which at most one is active in any trial:

    learning_rate:
      - {type: float, low: 1e-5, high: 1e-4, log: true, when: {method: full}}
      - {type: float, low: 1e-4, high: 1e-3, log: true, when: {method: lora}}

Each range is a dimension of its own to the sampler. Its `Dimension.key`, here ``learning_rate[method=lora]``,
is how Optuna's tables name it; everywhere else a trial has plain params.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Condition, Distribution, SearchSpace
from spezia.contract.remember import remember

MAX_DEPTH = 4
"""Largest number of conditions that may depend on each other in a chain."""

_Params = Mapping[str, ParamValue]


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One range of a search space, which is one dimension to the sampler."""

    name: str
    """Name of the parameter."""
    distribution: Distribution
    """The range itself."""
    path: tuple[str | int, ...]
    """Path of the range in the spec."""

    @property
    def key(self) -> str:
        """Name of the dimension in Optuna's tables: the parameter's, and its condition if it has several ranges."""
        if len(self.path) == 2:
            return self.name
        conditions = (f"{name}={'|'.join(map(str, values_of(when)))}" for name, when in self.distribution.when.items())
        return f"{self.name}[{','.join(conditions)}]"

    def is_active(self, params: _Params) -> bool:
        """Whether a trial that has ``params``, fixed ones included, has this parameter in this range."""
        return all(name in params and params[name] in values_of(when) for name, when in self.distribution.when.items())


def plain_name(key: str) -> str:
    """Return the name of the parameter that a `Dimension.key` belongs to."""
    return key.partition("[")[0]


# every proposal needs them several times, and finding out which depends on which takes longer than drawing the params
@remember(256)
def dimensions(space: SearchSpace) -> Sequence[Dimension]:
    """Return what `in_order` does, and keep it: ``space`` is that of a study, and never changes."""
    return in_order(space)


def in_order(space: SearchSpace) -> Sequence[Dimension]:
    """Return all ranges in the order of ``space``, but each after those that it depends on."""
    depths = depths_of(space)
    return tuple(sorted(each_dimension(space), key=lambda dimension: depths[dimension.name]))


def active_dimension(space: SearchSpace, name: str, params: _Params) -> Dimension | None:
    """Return the range of ``name`` in a trial with ``params``, fixed ones included; ``None`` if the trial has none."""
    return next((one for one in each_dimension(space, name) if one.is_active(params)), None)


def is_conditional(space: SearchSpace) -> bool:
    """Whether trials differ in which parameters they have."""
    return any(dimension.distribution.when for dimension in each_dimension(space))


def each_dimension(space: SearchSpace, name: str | None = None) -> Iterator[Dimension]:
    """Yield the ranges of ``space``, or only those of the parameter ``name``, in the order of ``space``."""
    for own in space if name is None else [name]:
        entry = space.get(own, [])
        if isinstance(entry, list):
            for index, one in enumerate(entry):
                yield Dimension(name=own, distribution=one, path=("search_space", own, index))
        else:
            yield Dimension(name=own, distribution=entry, path=("search_space", own))


def depths_of(space: SearchSpace) -> Mapping[str, int]:
    """Return for each parameter the length of the longest chain of parameters that it depends on.

    ``MAX_DEPTH + 1`` stands for every longer chain, and for a circle.
    """
    parents: dict[str, set[str]] = {name: set() for name in space}
    for dimension in each_dimension(space):
        parents[dimension.name].update(dimension.distribution.when)
    depths = dict.fromkeys(space, 0)
    # each round tells a parameter the depth that its parents had in the round before
    for _ in range(MAX_DEPTH + 1):
        depths = {name: max((1 + depths.get(one, 0) for one in parents[name]), default=0) for name in space}
    return depths


def values_of(condition: Condition) -> list[ParamValue]:
    """Return the values of a parameter under which a range is active."""
    return condition if isinstance(condition, list) else [condition]
