"""The ranges and values of a preset, written into the spec of a study.

Where trials are pruned they all get the most epochs of the preset: a trial is compared only with trials of as many
epochs or more, and one that gains nothing from more ends early anyway (`benchmarks/README.md`: at the same cost such
studies come nearer to the best configuration than those that search the epochs too).

What a preset tries first is enqueued behind what the study enqueues itself.

It happens once, when a study is created or validated: from then on the study owns its ranges, so that a later version
of the table changes no study that exists. Filling in again changes nothing.
"""

from service.errors import Invalid
from service.search.presets.presets import PRESETS
from service.search.space.allowed import choices_of
from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.preset import Preset
from spezia.contract.problem import FieldProblem
from spezia.contract.pruners import NoPruner
from spezia.contract.ranges import Distribution, IntRange, SearchSpace
from spezia.contract.space import values_of
from spezia.contract.study_spec import Params, StudySpec, params_errors
from spezia.contract.wire import nearest_name_hint

_SAME = {"frozen_layers": "frozen_fraction", "frozen_fraction": "frozen_layers"}
"""Parameters that say one thing in two ways: a spec that gives one does not want the other."""


def fill_preset(spec: StudySpec) -> StudySpec:
    """Return the spec with the ranges and values of its preset, except where the spec says otherwise itself.

    Raises:
        Invalid: There is no such preset, or it is for other tasks.
    """
    if spec.preset is None:
        return spec
    preset = _find(spec.preset, spec)
    said = spec.search_space.keys() | spec.fixed.keys()
    left_out = said | {_SAME[name] for name in said if name in _SAME}
    if "method" in said:
        methods = choices_of(spec, "method")
        left_out |= {name for name in preset.parameters if methods.isdisjoint(HYPERPARAMETERS[name].methods)}
    fixed = {name: value for name, value in preset.fixed.items() if name not in left_out}
    searched: SearchSpace = {}
    for name, entry in preset.search_space.items():
        ranges = [] if name in left_out else _possible(entry, spec)
        if ranges:
            searched[name] = ranges if len(ranges) > 1 else ranges[0]
    has_own = any("epochs" in params for params in spec.enqueue)
    if not has_own and not isinstance(spec.pruner, NoPruner) and isinstance(epochs := searched.get("epochs"), IntRange):
        del searched["epochs"]
        fixed["epochs"] = epochs.high
    filled = spec.model_copy(update={"search_space": searched | spec.search_space, "fixed": fixed | spec.fixed})
    return filled.model_copy(update={"enqueue": [*spec.enqueue, *_tried_first(preset, filled)]})


def _tried_first(preset: Preset, spec: StudySpec) -> list[Params]:
    """The params that the preset tries first and the study does not, where its space holds them and it has trials.

    They were found with the preset's own method, and mean nothing for others.
    """
    if choices_of(spec, "method") != {preset.fixed.get("method")}:
        return []
    shared = [{name: params[name] for name in params if name in spec.search_space} for params in preset.enqueue]
    new = [params for params in shared if params and params not in spec.enqueue and not params_errors(spec, params)]
    distinct = [params for index, params in enumerate(new) if params not in new[:index]]
    n_left = spec.n_trials - spec.baseline - len(spec.enqueue)
    return distinct[: max(0, n_left)]


def _possible(entry: Distribution | list[Distribution], spec: StudySpec) -> list[Distribution]:
    """The ranges that a trial can have, given what the spec says itself; a condition that always holds is gone."""
    ranges = entry if isinstance(entry, list) else [entry]
    said = spec.search_space.keys() | spec.fixed.keys()
    return [
        one.model_copy(update={"when": {parent: when for parent, when in one.when.items() if parent not in spec.fixed}})
        for one in ranges
        if all(choices_of(spec, parent) & set(values_of(when)) for parent, when in one.when.items() if parent in said)
    ]


def _find(name: str, spec: StudySpec) -> Preset:
    preset = PRESETS.get(name)
    if preset is not None and spec.task in preset.tasks:
        return preset
    fitting = [known.name for known in PRESETS.values() if spec.task in known.tasks]
    if preset is None:
        message = f"unknown preset{nearest_name_hint(name, PRESETS)}"
    elif fitting:
        message = f"is for {' and '.join(preset.tasks)}; for {spec.task} there are {', '.join(fitting)}"
    else:
        message = f"is for {' and '.join(preset.tasks)}; there is none for {spec.task}: give a search_space"
    raise Invalid(FieldProblem(field="preset", message=message, value=name))
