"""Params of a trial by their plain names, and as Optuna's tables name them.

A parameter whose ranges have conditions stands in Optuna's tables once for each range, by `Dimension.key`.
"""

from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.space import dimensions, plain_name
from spezia.contract.study_spec import Params, StudySpec


def to_keys(spec: StudySpec, params: Params) -> Params:
    """Return a trial's plain ``params`` as Optuna's tables name them."""
    known = spec.fixed | params
    return {
        one.key: params[one.name]
        for one in dimensions(spec.search_space)
        if one.name in params and one.is_active(known)
    }


def plain_params(params: Params) -> Params:
    """Return what Optuna's tables call a trial's params as plain params."""
    return {plain_name(key): value for key, value in params.items()}


def trial_params(spec: StudySpec, params: Params) -> Params:
    """Return what a trial with Optuna's ``params`` is run with: of the fixed ones those that its method has."""
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
