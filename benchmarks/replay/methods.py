"""The ways to search that are compared, each made for one task, seed and number of workers."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from replay.halving import ResumingHalving
from replay.lifecycle import SpeziaService
from replay.ours import Spezia
from replay.simulate import Method
from replay.stock import StockOptuna
from replay.task import Params, ReplayTask

from service.search.baseline import baseline
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec

REFERENCE = "random"
UNLIMITED = 1_000
"""More trials than any budget allows."""
FIRST_RUNG = 3
"""Evaluations at the lowest rung of the methods that halve: three quarters of an epoch, behind the warm-up."""
FACTS = Facts(
    train_rows=128,
    validation_rows=128,
    test_rows=None,
    classes=["no", "yes"],
    max_tokens=64,
    truncated_rows=0,
    blocks=6,
    parameters=22_700_000,
    checkpoint_dropout=0.1,
    model_commit=None,
    model_sha256="0" * 64,
    data_sha256="1" * 64,
    precision="fp32",
)
"""What a study of such a task finds out when it is prepared."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a method is made from."""

    task: ReplayTask
    workers: int
    seed: int
    fixed: Params
    first: list[Params]
    """Params of the trials to begin with."""
    folder: Path
    stack: ExitStack

    def spec(self, sampler: str = "tpe", pruner: str = "none", n_trials: int = UNLIMITED, **options: int) -> StudySpec:
        space = {name: one for name, one in self.task.search_space.items() if name not in self.fixed}
        return StudySpec.model_validate(
            {
                "name": f"{self.task.name}-{self.seed}",
                "task": "text-classification",
                "model": {"name": "all-MiniLM-L6-v2"},
                "data": {"train": "train.csv"},
                "search_space": space,
                "fixed": self.fixed,
                "enqueue": [{name: params[name] for name in space} for params in self.first],
                "sampler": {"name": sampler},
                "pruner": {"name": pruner, "options": options},
                "n_trials": n_trials,
                "seed": self.seed,
                "training": {
                    "evaluations_per_epoch": self.task.evaluations_per_epoch,
                    "early_stopping_patience": None,
                    "keep_models": 0,
                },
            }
        )


def stock(sampler: Callable[..., BaseSampler], pruner: Callable[[], BasePruner]) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        return StockOptuna(setting.spec(), sampler(seed=setting.seed), pruner(), setting.first)

    return make


def spezia(pruner: str, sampler: str = "tpe", n_trials: int = UNLIMITED) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        spec = setting.spec(sampler, pruner, n_trials)
        return Spezia(spec, baseline(spec, FACTS).params)

    return make


def service(
    pruner: str, sampler: str = "tpe", n_trials: int = UNLIMITED, **options: int
) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        spec = setting.spec(sampler, pruner, n_trials, **options)
        return setting.stack.enter_context(SpeziaService(spec, FACTS, setting.workers, setting.folder))

    return make


def halving(eta: int, n_brackets: int, *, has_model: bool) -> Callable[[Setting], Method]:
    def make(setting: Setting) -> Method:
        return ResumingHalving(
            setting.task.search_space,
            setting.fixed,
            longest=setting.task.longest,
            first_rung=FIRST_RUNG,
            eta=eta,
            n_brackets=n_brackets,
            has_model=has_model,
            first=setting.first,
            seed=setting.seed,
        )

    return make


METHODS: dict[str, Callable[[Setting], Method]] = {
    REFERENCE: stock(RandomSampler, NopPruner),
    "optuna": stock(TPESampler, MedianPruner),
    "optuna-12": stock(TPESampler, MedianPruner),
    "optuna-warm": stock(TPESampler, MedianPruner),
    "optuna-hyperband": stock(TPESampler, HyperbandPruner),
    "optuna-hyperband-12": stock(TPESampler, HyperbandPruner),
    "asha-12": halving(4, 1, has_model=False),
    "asha-12-warm": halving(4, 1, has_model=False),
    "bohb-12": halving(3, 3, has_model=True),
    "spezia": spezia("none"),
    "spezia-12": spezia("none"),
    "spezia-median": spezia("median"),
    "spezia-median-12": spezia("median"),
    "spezia-median-warm": spezia("median"),
    "spezia-median-12-warm": spezia("median"),
    "model": spezia("none", "multi-fidelity"),
    "model-median": spezia("median", "multi-fidelity"),
    "model-median-12": spezia("median", "multi-fidelity"),
    "rungs": service("rungs"),
    "rungs-12": service("rungs"),
    "rungs-12-warm": service("rungs"),
    "rungs-random-12": service("rungs", "random"),
    "rungs-early-12": service("rungs", first=FIRST_RUNG),
    "rungs-early-12-warm": service("rungs", first=FIRST_RUNG),
    "rungs-64-12": service("rungs", n_trials=64),
    "rungs-model-12": service("rungs", "multi-fidelity"),
    "rungs-model-12-warm": service("rungs", "multi-fidelity"),
    "rungs-early-model-12": service("rungs", "multi-fidelity", first=FIRST_RUNG),
    "rungs-early-model-12-warm": service("rungs", "multi-fidelity", first=FIRST_RUNG),
    "rungs-first-model-12": service("rungs", "multi-fidelity", first=1),
}
"""All methods by name. ``optuna`` has Optuna's sampler and pruner as they come, ``spezia`` is a study of ours as it
comes; those with ``rungs`` pause trials, by the whole lifecycle, and those with ``model`` have the sampler
``multi-fidelity``. ``early``: at a first rung that ours would not choose by itself, before 8 optimizer steps of the
largest batch; ``first``: at the first evaluation."""

STUDIES: dict[str, Callable[[Setting], Method]] = {
    f"{n_trials}x-{name}{form}": make(n_trials)
    for n_trials in (12, 20, 64)
    for form in ("", "-12", "-12-warm")
    for name, make in {
        "none": lambda n_trials: spezia("none", n_trials=n_trials),
        "median": lambda n_trials: spezia("median", n_trials=n_trials),
        "rungs": lambda n_trials: service("rungs", n_trials=n_trials),
        "rungs-early": lambda n_trials: service("rungs", n_trials=n_trials, first=FIRST_RUNG),
        "rungs-early-model": lambda n_trials: service("rungs", "multi-fidelity", n_trials, first=FIRST_RUNG),
    }.items()
}
"""Studies of 12, 20 and 64 trials, which are carried out to their end."""

THROUGH_THE_SERVICE: dict[str, Callable[[Setting], Method]] = {
    "service": service("none"),
    "service-median": service("median"),
}
"""The same as ``spezia`` and ``spezia-median`` by a real store and lifecycle, which find the same to the last digit and
take longer."""
