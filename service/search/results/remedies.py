"""What helps where a learning curve shows a weakness: fewer or more epochs, or a model that fits less closely."""

from service.search.edits import fix, lower_high, raise_high, search, set_choices, set_field
from service.search.finding import Remedy
from service.search.results.edges import widen
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import HYPERPARAMETERS, ParamValue, default_of
from spezia.contract.pruners import ThresholdPruner
from spezia.contract.ranges import Choices
from spezia.contract.space import Dimension, active_dimension
from spezia.contract.study_spec import Params, StudySpec
from spezia.contract.tasks import Direction

_NEAR_HIGH = 0.8
"""Share of the upper edge from which on a value is as strong as the search allows."""
_USUAL = {"dropout": 0.4, "weight_decay": 0.3}
"""Params that make a model fit its training data less, with the upper edges of ranges to search."""


def train_less(spec: StudySpec, params: Params, epochs: int) -> Remedy | None:
    """Return the remedy that allows no more than ``epochs``; ``None`` where the study allows no more already."""
    dimension = active_dimension(spec.search_space, "epochs", spec.fixed | params)
    if dimension is None:
        return set_field("fixed.epochs", epochs) if epochs < _epochs(params) else None
    within = dimension.distribution
    if isinstance(within, Choices):
        fewer = [choice for choice in within.choices if isinstance(choice, int) and choice <= epochs]
        if len(fewer) < 2:
            return fix(spec, "epochs", epochs)
        left_out = [str(choice) for choice in within.choices if choice not in fewer]
        return set_choices(dimension, list(fewer), _choices_words("take", left_out, dimension)) if left_out else None
    return fix(spec, "epochs", int(within.low)) if epochs <= within.low < within.high else lower_high(dimension, epochs)


def train_longer(spec: StudySpec, params: Params, reached: int) -> Remedy | None:
    """Return the remedy that allows twice the epochs that a trial has ``reached``.

    ``None`` where the trial was to have more, or another one may.
    """
    epochs = min(2 * reached, int(HYPERPARAMETERS["epochs"].high))
    if reached < _epochs(params):
        return None
    dimension = active_dimension(spec.search_space, "epochs", spec.fixed | params)
    if dimension is None:
        return set_field("fixed.epochs", epochs) if epochs > _epochs(params) else None
    within = dimension.distribution
    if not isinstance(within, Choices):
        return raise_high(dimension, epochs) if _epochs(params) == within.high else None
    numbers = [choice for choice in within.choices if isinstance(choice, int)]
    if _epochs(params) != max(numbers) or epochs in numbers:
        return None
    return set_choices(dimension, [*within.choices, epochs], _choices_words("add", [str(epochs)], dimension))


def fit_less(spec: StudySpec, params: Params, facts: Facts | None) -> Remedy | None:
    """Return the remedy that searches a param by which the model fits its training data less, or searches it further.

    What a person has fixed stays as it is.
    """
    for name, usual in _USUAL.items():
        remedy = _search_further(spec, params, name, facts) or search(spec, name, 0.0, usual)
        if remedy:
            return remedy
    if _value(params, "method") == "head_only":
        return None
    blocks = facts.blocks if facts is not None and facts.blocks else 0
    frozen = _search_further(spec, params, "frozen_layers", facts)
    frozen = frozen or (search(spec, "frozen_layers", 0, blocks // 2) if blocks >= 2 else None)
    if frozen or _value(params, "method") == "lora" or "method" in spec.search_space:
        return frozen
    return set_field("fixed.method", "lora", "use method lora")


def choose_by(spec: StudySpec, metric: str, direction: Direction, condition: str) -> Remedy | None:
    """Return the remedy that makes another metric the objective.

    ``None`` where the spec gives something else in values of the present one.

    Args:
        condition: When a person should do so, as a clause.
    """
    if spec.target_value is not None or isinstance(spec.pruner, ThresholdPruner):
        return None
    metric_change = set_field("objective.metric", metric)
    direction_change = set_field("objective.direction", direction)
    changes = metric_change.changes + direction_change.changes
    return Remedy(words=f"if {condition}, {metric_change.words}", changes=changes)


def _search_further(spec: StudySpec, params: Params, name: str, facts: Facts | None) -> Remedy | None:
    """Return the remedy that moves the upper edge of a range, if the trial's value is close to it."""
    dimension = active_dimension(spec.search_space, name, spec.fixed | params)
    if dimension is None or isinstance(dimension.distribution, Choices):
        return None
    is_close = float(params[name]) >= _NEAR_HIGH * dimension.distribution.high
    return widen(dimension, facts) if is_close else None


def _epochs(params: Params) -> int:
    return int(_value(params, "epochs"))


def _value(params: Params, name: str) -> ParamValue:
    default = default_of(name, params)
    assert default is not None
    return params.get(name, default)


def _choices_words(verb: str, choices: list[str], dimension: Dimension) -> str:
    where = f"{'.'.join(map(str, dimension.path))}.choices"
    return f"{verb} {' and '.join(choices)} {'to' if verb == 'add' else 'out of'} {where}"
