"""Specs and trials for the tests of service/search."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from optuna.trial import FrozenTrial, TrialState, create_trial

from service.optuna_private import set_id
from service.search.propose.propose import Proposal, ProposalRequest, propose
from spezia.contract.facts import Facts
from spezia.contract.study_spec import Params, StudySpec

SPACE: dict[str, dict[str, Any]] = {
    "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
    "epochs": {"type": "int", "low": 1, "high": 5},
    "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine"]},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
}
GRID = {
    "batch_size": {"type": "categorical", "choices": [8, 16]},
    "epochs": {"type": "int", "low": 1, "high": 3},
    "dropout": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1},
}


def make_spec(**fields: Any) -> StudySpec:
    basics = {
        "task": "text-classification",
        "model": {"name": "m"},
        "data": {"train": "train.csv"},
        "search_space": SPACE,
    }
    return StudySpec.model_validate(basics | fields)


def make_facts(checkpoint_dropout: float | None = 0.1) -> Facts:
    return Facts(
        train_rows=100,
        validation_rows=20,
        test_rows=None,
        classes=["a", "b"],
        max_tokens=64,
        truncated_rows=0,
        blocks=6,
        parameters=1000,
        checkpoint_dropout=checkpoint_dropout,
        model_commit=None,
        model_sha256="0" * 64,
        data_sha256="0" * 64,
        precision="fp32",
    )


def toy_loss(params: Params) -> float:
    """Smallest, 0, at rate 1e-4 and weight decay 0.1."""
    rate, decay = params["learning_rate"], params["weight_decay"]
    assert isinstance(rate, float)
    assert isinstance(decay, float)
    return (math.log10(rate) + 4) ** 2 + 10 * (decay - 0.1) ** 2


def make_trial(number: int, *, state: TrialState = TrialState.COMPLETE, **fields: Any) -> FrozenTrial:
    finished = state.is_finished() and state != TrialState.FAIL
    trial = create_trial(state=state, **({"value": 0.5} if finished else {}) | fields)
    trial.number = number
    set_id(trial, 1000 + number)
    return trial


class Unseen(list[FrozenTrial]):
    """Trials that nobody may look at."""

    def __iter__(self) -> Iterator[FrozenTrial]:
        yield from ()
        raise AssertionError("somebody looked at all trials")


def told(proposal: Proposal, number: int, state: TrialState, value: float | None) -> FrozenTrial:
    return make_trial(
        number,
        state=state,
        value=value,
        params=proposal.params,
        distributions=proposal.distributions,
        system_attrs=proposal.system_attrs,
    )


@dataclass
class History:
    """A study as the service would keep it: what is proposed is stored, and told in order."""

    spec: StudySpec
    trials: list[FrozenTrial] = field(default_factory=list)
    study_system_attrs: dict[str, Any] = field(default_factory=dict)

    def propose(self, fixed: Params | None = None) -> Proposal | None:
        return propose(self.request(fixed))

    def request(self, fixed: Params | None = None) -> ProposalRequest:
        return ProposalRequest(
            spec=self.spec,
            study_name="toy",
            number=len(self.trials),
            trials=self.trials,
            study_system_attrs=self.study_system_attrs,
            fixed=fixed or {},
        )

    def start(self, proposal: Proposal) -> int:
        number = len(self.trials)
        self.study_system_attrs |= proposal.study_system_attrs
        self.trials.append(told(proposal, number, TrialState.RUNNING, None))
        return number

    def tell(self, number: int, value: float | None, state: TrialState = TrialState.COMPLETE) -> None:
        running = self.trials[number]
        self.trials[number] = make_trial(
            number,
            state=state,
            value=value,
            params=running.params,
            distributions=running.distributions,
            system_attrs=running.system_attrs,
        )

    def run(self, n_trials: int, loss: Callable[[Params], float] = toy_loss) -> None:
        for _ in range(n_trials):
            proposal = self.propose()
            assert proposal is not None
            self.tell(self.start(proposal), loss(proposal.params))


def params_of(trials: Sequence[FrozenTrial]) -> list[tuple[tuple[str, Any], ...]]:
    return [freeze(trial.params) for trial in trials]


def freeze(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def names_of(union: Any) -> set[str]:
    """The names by which a spec chooses among the models of ``union``, a pydantic union told apart by ``name``."""
    models, *_ = get_args(union)
    return {name for model in get_args(models) for name in get_args(model.model_fields["name"].annotation)}
