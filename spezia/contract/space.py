"""Which parameters a trial has, and the rules of a search space.

A range may hang on other parameters (``when``). Where one parameter needs several ranges, such as a learning
rate for each ``method``, its entry is a list of ranges of which at most one is active in any trial:

    learning_rate:
      - {type: float, low: 1e-5, high: 1e-4, log: true, when: {method: full}}
      - {type: float, low: 1e-4, high: 1e-3, log: true, when: {method: lora}}

Each range is a dimension of its own to the sampler. Its `Dimension.key`, here ``learning_rate[method=lora]``,
is how Optuna's tables name it; everywhere else a trial has plain params.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS, ParamValue
from spezia.contract.ranges import Choices, Condition, Distribution, FloatRange, IntRange, SearchSpace
from spezia.contract.remember import remember
from spezia.contract.wire import FieldError, nearest_name_hint

MAX_DEPTH = 4
"""Conditions that may hang on one another."""

_Params = Mapping[str, ParamValue]


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One range of a search space."""

    name: str
    """Of the hyperparameter."""
    distribution: Distribution
    path: tuple[str | int, ...]
    """Where the spec has it."""

    @property
    def key(self) -> str:
        """Its name in Optuna's tables: plain unless the parameter has several ranges."""
        if len(self.path) == 2:
            return self.name
        conditions = (f"{name}={'|'.join(map(str, values_of(when)))}" for name, when in self.distribution.when.items())
        return f"{self.name}[{','.join(conditions)}]"

    def is_active(self, params: _Params) -> bool:
        """Whether a trial that has ``params``, fixed ones included, has this parameter in this range."""
        return all(name in params and params[name] in values_of(when) for name, when in self.distribution.when.items())


def plain_name(key: str) -> str:
    """The hyperparameter of a `Dimension.key`."""
    return key.partition("[")[0]


# every proposal needs them several times, and to find who hangs on whom takes longer than to draw the params
@remember(256)
def dimensions(space: SearchSpace) -> Sequence[Dimension]:
    """All ranges, each behind those that it hangs on, else in the order of ``space``, which never changes."""
    depths = {name: _depth(space, name) for name in space}
    return tuple(sorted(_dimensions(space), key=lambda dimension: depths[dimension.name]))


def active_dimension(space: SearchSpace, name: str, params: _Params) -> Dimension | None:
    """The range that ``name`` has in a trial with ``params``, fixed ones included, if it has one."""
    return next((one for one in _dimensions(space, name) if one.is_active(params)), None)


def is_conditional(space: SearchSpace) -> bool:
    """Whether trials differ in which parameters they have."""
    return any(dimension.distribution.when for dimension in dimensions(space))


def range_errors(space: SearchSpace) -> list[FieldError]:
    """What is wrong with single ranges."""
    errors: list[FieldError] = []
    for name in space:
        if name not in HYPERPARAMETERS:
            errors.append((("search_space", name), unknown_hyperparameter(name), name))
    for dimension in _dimensions(space):
        if dimension.name in HYPERPARAMETERS:
            errors += _range_errors(dimension)
    return errors


def condition_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """What is wrong with how ranges hang on each other."""
    errors = [error for dimension in _dimensions(space) for error in _when_errors(dimension, space, fixed)]
    for name in space:
        if _depth(space, name) > MAX_DEPTH:
            errors.append((("search_space", name), f"hangs on itself, or on more than {MAX_DEPTH} others", None))
    return errors or list(_branch_errors(space))


def method_errors(space: SearchSpace, fixed: _Params) -> list[FieldError]:
    """What some ``method`` cannot have, of a space without `condition_errors`."""
    return [*_method_errors(space, fixed), *_frozen_errors(space, fixed)]


def unknown_hyperparameter(name: str) -> str:
    """Say what to do about a name that no hyperparameter has."""
    if "seed" in name or name == "random_state":
        return (
            "the seed is no hyperparameter: a search over it picks the luckiest seed for the validation split "
            "(Dodge et al. 2020); the study's own `seed` decides all randomness"
        )
    return f"unknown hyperparameter{nearest_name_hint(name, HYPERPARAMETERS)}"


def value_problem(distribution: Distribution, value: object) -> str | None:
    """Say why ``value`` lies outside ``distribution``, or ``None`` if it is inside."""
    if isinstance(distribution, Choices):
        inside = any(type(value) is type(choice) and value == choice for choice in distribution.choices)
        return None if inside else f"must be one of {', '.join(map(str, distribution.choices))}"
    whole = isinstance(distribution, IntRange)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return f"must be {'a whole number' if whole else 'a number'}"
    if not distribution.low <= value <= distribution.high:
        return f"must lie in [{distribution.low:g}, {distribution.high:g}]"
    if distribution.step is None or (whole and distribution.step == 1):
        return None
    steps = (value - distribution.low) / distribution.step
    return None if abs(steps - round(steps)) < 1e-8 * max(1.0, steps) else f"must lie on the step {distribution.step:g}"


def enqueued_problem(space: SearchSpace, name: str, params: _Params, fixed: _Params) -> str | None:
    """Say why ``params``, which a person enqueues, cannot have this ``name``; ``None`` if they can."""
    if name not in space:
        return f"not in search_space{nearest_name_hint(name, space)}"
    dimension = active_dimension(space, name, {**fixed, **params})
    if dimension is None:
        needed = " or ".join(_words(one.distribution.when) for one in _dimensions(space, name))
        return f"{name} needs {needed} beside it; add that, or drop {name}"
    problem = value_problem(dimension.distribution, params[name])
    return problem and f"{name} {problem}"


def _dimensions(space: SearchSpace, name: str | None = None) -> Iterator[Dimension]:
    for own, entry in space.items():
        if name not in (None, own):
            continue
        if isinstance(entry, list):
            for index, one in enumerate(entry):
                yield Dimension(name=own, distribution=one, path=("search_space", own, index))
        else:
            yield Dimension(name=own, distribution=entry, path=("search_space", own))


def _depth(space: SearchSpace, name: str, above: int = 0) -> int:
    """How many parameters ``name`` hangs on, one above the other; more than ``MAX_DEPTH`` in a circle."""
    if above > MAX_DEPTH:
        return 1
    parents = {parent for dimension in _dimensions(space, name) for parent in dimension.distribution.when}
    return max((1 + _depth(space, parent, above + 1) for parent in parents), default=0)


def values_of(condition: Condition) -> list[ParamValue]:
    """The values of a parameter under which a range is active."""
    return condition if isinstance(condition, list) else [condition]


def _words(when: Mapping[str, Condition]) -> str:
    return ", ".join(f"{name} = {' or '.join(map(str, values_of(condition)))}" for name, condition in when.items())


def _range_errors(dimension: Dimension) -> list[FieldError]:
    known, distribution = HYPERPARAMETERS[dimension.name], dimension.distribution
    if known.type in ("name", "bool") and not isinstance(distribution, Choices):
        what = "names" if known.type == "name" else "true or false"
        return [(dimension.path, f"{known.name} takes {what}; use type categorical", distribution.type)]
    if known.type == "int" and isinstance(distribution, FloatRange):
        return [(dimension.path, f"{known.name} is a whole number; use type int", distribution.type)]
    problems = [(field, known.problem(value), value) for field, value in _edges(distribution)]
    return [((*dimension.path, *field), f"{known.name} {why}", value) for field, why, value in problems if why]


def _edges(distribution: Distribution) -> list[tuple[tuple[str | int, ...], object]]:
    if isinstance(distribution, Choices):
        return [(("choices", index), choice) for index, choice in enumerate(distribution.choices)]
    return [(("low",), distribution.low), (("high",), distribution.high)]


def _when_errors(dimension: Dimension, space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    for parent, condition in dimension.distribution.when.items():
        path = (*dimension.path, "when", parent)
        if parent in fixed:
            allowed: list[ParamValue] = [fixed[parent]]
        elif parent in space:
            ranges = [one.distribution for one in _dimensions(space, parent)]
            allowed = [choice for one in ranges if isinstance(one, Choices) for choice in one.choices]
        else:
            hint = nearest_name_hint(parent, HYPERPARAMETERS) if parent not in HYPERPARAMETERS else ""
            yield path, f"{parent} is neither in search_space nor in fixed; put it there{hint}", parent
            continue
        if not allowed:
            yield path, f"only a categorical can be hung on, and {parent} is a range", parent
        for value in values_of(condition):
            if allowed and not any(type(value) is type(one) and value == one for one in allowed):
                yield path, f"{parent} is never {value}; it can be {', '.join(map(str, allowed))}", value


def _branch_errors(space: SearchSpace) -> Iterator[FieldError]:
    """At most one range of a parameter may be active."""
    for name in space:
        ranges = list(_dimensions(space, name))
        for index, later in enumerate(ranges):
            if any(not _exclude(earlier, later) for earlier in ranges[:index]):
                message = f"two ranges of {name} could be active at once; give each a `when` that excludes the others"
                yield later.path, message, None


def _exclude(one: Dimension, other: Dimension) -> bool:
    theirs = other.distribution.when
    return any(
        name in theirs and not set(values_of(condition)) & set(values_of(theirs[name]))
        for name, condition in one.distribution.when.items()
    )


def _method_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    for dimension in _dimensions(space):
        allowed = _allowed_methods(dimension.name)
        if extra := _methods(dimension, space, fixed) - set(allowed):
            wanted = f"[{', '.join(allowed)}]" if len(allowed) > 1 else allowed[0]
            without = " and ".join(sorted(map(str, extra)))
            message = f"method {without} has no {dimension.name}; add when: {{method: {wanted}}}"
            yield dimension.path, message, None
    for name in fixed:
        allowed = _allowed_methods(name)
        if not _all_methods(space, fixed) & set(allowed):
            yield ("fixed", name), f"only method {' and '.join(allowed)} has {name}; fix or search method", fixed[name]


def _allowed_methods(name: str) -> tuple[str, ...]:
    return HYPERPARAMETERS[name].methods if name in HYPERPARAMETERS else METHODS


def _all_methods(space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    searched = [one.distribution for one in _dimensions(space, "method")]
    found = {choice for one in searched if isinstance(one, Choices) for choice in one.choices}
    default = HYPERPARAMETERS["method"].default
    assert default is not None
    return found or {fixed.get("method", default)}


def _methods(dimension: Dimension, space: SearchSpace, fixed: _Params) -> set[ParamValue]:
    """The methods of the trials in which ``dimension`` is active."""
    methods = _all_methods(space, fixed)
    for parent, condition in dimension.distribution.when.items():
        if parent == "method":
            methods &= set(values_of(condition))
        elif parent in space:
            methods &= set().union(*(_methods(one, space, fixed) for one in _dimensions(space, parent)))
    return methods


def _frozen_errors(space: SearchSpace, fixed: _Params) -> Iterator[FieldError]:
    """Two names of one thing."""
    layers, fractions = (list(_dimensions(space, name)) for name in ("frozen_layers", "frozen_fraction"))
    message = "frozen_layers and frozen_fraction say the same in two ways; keep one, or give them excluding `when`s"
    for fraction in fractions:
        if "frozen_layers" in fixed or any(not _exclude(fraction, layer) for layer in layers):
            yield fraction.path, message, None
    if "frozen_fraction" in fixed and (layers or "frozen_layers" in fixed):
        yield ("fixed", "frozen_fraction"), message, fixed["frozen_fraction"]
