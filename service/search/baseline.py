"""Where a search starts: the params of the baseline, the study's trial 0.

The numbers are elsewhere. The value of each searched parameter is the preset's (`service/search/presets/presets.py`),
else the hyperparameter's own default (`spezia/contract/hyperparameters.py`), which may depend on the method, as the
learning rate of LoRA does. A default that the study's range does not allow is moved into it, with a warning.
"""

from dataclasses import dataclass

from service.search.presets.presets import preset_default
from service.search.space.allowed import nearest
from spezia.contract.facts import Facts
from spezia.contract.hyperparameters import ParamValue, default_of
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec

USUAL_DROPOUT = 0.1
"""Dropout of BERT and most of its descendants; used when the checkpoint names none."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Trial 0 of a study."""

    params: Params
    """A value inside its range for every searched parameter that the baseline has."""
    warnings: list[str]
    """One sentence for each default that its range does not allow."""


def baseline(spec: StudySpec, facts: Facts) -> Baseline:
    """Return the params of the baseline: every searched parameter's default, moved into its range.

    The defaults of the study's preset come before those of the hyperparameters.
    """
    params: Params = {}
    warnings: list[str] = []
    for dimension in dimensions(spec.search_space):
        if not dimension.is_active(spec.fixed | params):
            continue
        name = dimension.name
        wanted = preset_default(spec, name)
        if wanted is None:
            wanted = default_value(name, spec.fixed | params, facts)
        params[name] = nearest(dimension.distribution, wanted)
        if params[name] != wanted:
            warnings.append(
                f"baseline: the default {name} = {_words(wanted)} is not in search_space;"
                f" it starts from {_words(params[name])}, the nearest that is"
            )
    return Baseline(params=params, warnings=warnings)


def default_value(name: str, params: Params, facts: Facts) -> ParamValue:
    """Return the value of a hyperparameter that a trial with ``params`` has where nobody says another one."""
    default = default_of(name, params)
    if default is not None:
        return default
    assert name == "dropout", name
    return USUAL_DROPOUT if facts.checkpoint_dropout is None else facts.checkpoint_dropout


def _words(value: ParamValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
