"""What the service recommends to search (`Preset`), and what it thinks of a study before it starts (`Validation`)."""

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.ranges import Distribution, SearchSpace
from spezia.contract.study_spec import Params
from spezia.contract.tasks import Task
from spezia.contract.wire import Name, Reply, Text


class PresetParameter(Reply):
    """One line of a preset."""

    default: ParamValue | None
    """What trial 0 runs; without a distribution, what every trial runs. Null: as its method has by default."""
    distribution: Distribution | list[Distribution] | None
    """Several where the range hangs on others."""
    source: Text
    """Where default and range come from: a paper, a library, or our own measurement."""


class Preset(Reply):
    """A search space taken from published recipes, for some tasks."""

    name: Name
    tasks: list[Task]
    summary: Text
    """When to use it."""
    parameters: dict[str, PresetParameter]

    @property
    def search_space(self) -> SearchSpace:
        """The ranges, as a study has them."""
        return {name: line.distribution for name, line in self.parameters.items() if line.distribution is not None}

    @property
    def fixed(self) -> Params:
        """The values that are not searched, as a study has them."""
        lines = self.parameters.items()
        return {name: line.default for name, line in lines if line.distribution is None and line.default is not None}


class PresetList(Reply):
    presets: list[Preset]
