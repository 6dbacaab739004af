"""Requirements of a study that its spec alone cannot check; asked once, when the study is created."""

from importlib.util import find_spec

from service.search.propose.samplers import build_unbound_sampler
from service.search.pruning.pruners import build_pruner
from spezia.contract.samplers import GpSampler, GridSampler, MultiFidelitySampler, RandomSampler
from spezia.contract.study_spec import StudySpec

_PACKAGES = {"gp": "torch", "cmaes": "cmaes", "qmc": "scipy"}


def missing_requirement(spec: StudySpec) -> str | None:
    """Return a sentence about the package that the sampler of a study lacks here, or ``None``."""
    package = _PACKAGES.get(spec.sampler.name)
    if package is None or find_spec(package) is not None:
        return None
    return (
        f"sampler {spec.sampler.name} needs {package}, which is not installed beside the service;"
        f" run `pip install {package}` or use sampler tpe"
    )


def refused_options(spec: StudySpec) -> tuple[str, str] | None:
    """Return the field and the reason where Optuna refuses a combination of options, or ``None``."""
    try:
        # without the search space, of which Optuna's form would be kept: most specs that are checked become no study
        if not isinstance(spec.sampler, GridSampler | GpSampler | RandomSampler | MultiFidelitySampler):
            build_unbound_sampler(spec, seed=0)
    except ValueError as refused:
        return "sampler.options", str(refused)
    try:
        build_pruner(spec)
    except ValueError as refused:
        return "pruner.options", str(refused)
    return None
