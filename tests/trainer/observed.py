"""A trial, watched from outside: what moved, at which rate, in which step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import PreTrainedModel

from trainer.model.best_model import BestModel
from trainer.model.pretrained import Pretrained
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared
from trainer.trial.config import TrialConfig

SEED, NUMBER = 7, 3


class _Spy(BestModel):
    """Keeps hold of the trial's model."""

    model: PreTrainedModel

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        super().keep(pretrained, model)
        self.model = model


@dataclass
class OptimizerStep:
    rates: dict[nn.Parameter, float] = field(default_factory=dict)
    """Of each parameter that has a gradient."""
    decay: dict[nn.Parameter, float] = field(default_factory=dict)
    betas: tuple[float, float] = (0.0, 0.0)
    gradient_norm: float = 0.0
    """Of the gradients as they are used, which is after clipping."""


@dataclass
class Observed:
    evaluations: list[Evaluation]
    model: PreTrainedModel
    """As the trial left it."""
    best: BestModel
    steps: list[OptimizerStep]

    @property
    def train_losses(self) -> list[float]:
        return [evaluation.metrics["train_loss"] for evaluation in self.evaluations]

    @property
    def validation_losses(self) -> list[float]:
        return [evaluation.metrics["validation_loss"] for evaluation in self.evaluations]

    def moved(self, start: dict[str, torch.Tensor]) -> set[str]:
        """Names of the parameters that are no longer what they were, which those not in ``start`` never are."""
        return {
            name
            for name, parameter in self.model.named_parameters()
            if (plain := name.replace(".base_layer.", ".")) not in start or not torch.equal(parameter, start[plain])
        }


def observe(prepared: Prepared, params: dict[str, Any]) -> Observed:
    """Run a trial to its end."""
    steps: list[OptimizerStep] = []
    best = _Spy()
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: steps.append(_look(optimizer)))
    try:
        trial = fine_tune(prepared, TrialConfig.from_params(params), seed=SEED, number=NUMBER, best=best)
        evaluations = list(trial)
    finally:
        handle.remove()
    return Observed(evaluations, best.model, best, steps)


def count_calls(wanted: type[nn.Module], work: Callable[[], object]) -> dict[nn.Module, int]:
    """How often each module of class ``wanted`` computes with gradients during ``work``."""
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        if type(module) is wanted and torch.is_grad_enabled():
            calls[module] = calls.get(module, 0) + 1

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        work()
    finally:
        handle.remove()
    return calls


def _look(optimizer: torch.optim.Optimizer) -> OptimizerStep:
    step = OptimizerStep()
    squares = 0.0
    for group in optimizer.param_groups:
        step.betas = group["betas"]
        for parameter in group["params"]:
            if parameter.grad is not None:
                step.rates[parameter] = group["lr"]
                step.decay[parameter] = group["weight_decay"]
                squares += float(parameter.grad.square().sum())
    step.gradient_norm = squares**0.5 / float(getattr(optimizer, "grad_scale", 1.0))
    return step
