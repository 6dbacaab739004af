"""Presets: search spaces that the service recommends, each line with its source."""

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Distribution, SearchSpace
from spezia.contract.study_spec import Params
from spezia.contract.tasks import Task
from spezia.contract.wire import Name, Reply, Text


class PresetParameter(Reply):
    """One hyperparameter of a preset: where it starts, how far it goes, and why."""

    default: ParamValue | None
    """Value in trial 0, and in every trial where ``distribution`` is null; null: the default of the trial's method."""
    distribution: Distribution | list[Distribution] | None
    """Range that is searched, or several ranges that depend on other params; null where the value is fixed."""
    source: Text
    """Origin of default and range: a paper, a library, or a judgement of ours."""


class Preset(Reply):
    """A search space taken from published recipes, for certain tasks."""

    name: Name
    """Name of the preset, to be given as a study's ``preset``."""
    tasks: list[Task]
    """Tasks that the preset is made for."""
    summary: Text
    """When to use the preset, in a few words."""
    parameters: dict[str, PresetParameter]
    """The preset's hyperparameters by name."""
    enqueue: list[Params] = []
    """Params that did best together where they were measured, to be tried first."""
    enqueue_source: Text | None = None
    """Origin of ``enqueue``; null where it is empty."""

    @property
    def search_space(self) -> SearchSpace:
        """The preset's ranges, in the form of a study's ``search_space``."""
        return {name: line.distribution for name, line in self.parameters.items() if line.distribution is not None}

    @property
    def fixed(self) -> Params:
        """The preset's values that are not searched, in the form of a study's ``fixed``."""
        lines = self.parameters.items()
        return {name: line.default for name, line in lines if line.distribution is None and line.default is not None}


class PresetList(Reply):
    """All presets."""

    presets: list[Preset]
    """Presets of the service, in the order of its table."""
