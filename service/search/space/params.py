"""Params of a trial by their plain names, and as Optuna's tables name them.

A parameter whose ranges have conditions stands in Optuna's tables once for each range, by `Dimension.key`.
"""

from spezia.contract.hyperparameters import HYPERPARAMETERS, param_value
from spezia.contract.space import dimensions, plain_name
from spezia.contract.study_spec import Params, StudySpec


def to_keys(spec: StudySpec, params: Params) -> Params:
    """Return the plain ``params`` of a trial as Optuna's tables name them."""
    known = spec.fixed | params
    return {
        one.key: params[one.name]
        for one in dimensions(spec.search_space)
        if one.name in params and one.is_active(known)
    }


def plain_params(params: Params) -> Params:
    """Return params that are named as in Optuna's tables by their plain names."""
    return {plain_name(key): param_value(value) for key, value in params.items()}


def trial_params(spec: StudySpec, params: Params) -> Params:
    """Return all params that a trial runs with: its own, and those fixed ones that its method has.

    Args:
        params: The trial's own, named as in Optuna's tables.
    """
    chosen = plain_params(params)
    if spec.task == "script":
        return spec.fixed | chosen
    method = (spec.fixed | chosen).get("method", HYPERPARAMETERS["method"].default)
    fixed = {
        name: value
        for name, value in spec.fixed.items()
        if name not in HYPERPARAMETERS or method in HYPERPARAMETERS[name].methods
    }
    return fixed | chosen
