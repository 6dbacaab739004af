"""Makes AdamW and the learning rate of every optimizer step."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from transformers import get_scheduler

from spezia.contract.schedules import schedule_arguments
from trainer.errors import ConfigError
from trainer.trial.config import TrialConfig

BETA1 = 0.9
"""Decay of AdamW's mean of gradients, as in transformers."""
EPSILON = 1e-8
"""Number that keeps AdamW from dividing by 0, as in transformers."""

_NORM_EPSILON = 1e-6
"""What torch's ``clip_grads_with_norm_`` adds to a norm before it divides by it."""

FUSED_DEVICES = ("cpu", "cuda")
"""Devices on which one kernel takes AdamW's step of all parameters: five times as fast on a CPU, too."""

_SHARE = "rate_share"
"""Key of a parameter group under which its rate stands, as a share of the trial's."""


def make_optimizer(
    model: nn.Module, config: TrialConfig, rate_shares: Mapping[nn.Parameter, float]
) -> torch.optim.AdamW:
    """Make AdamW over what trains; weights of fewer than two dimensions (biases, norms) do not decay.

    Its moments have their memory at once. By itself AdamW takes it in the middle of its first step, where running out
    would leave some weights moved and others not; so a step needs none on CPU and CUDA, and what does not fit beside
    the moments is a batch, which can be cut.

    Args:
        rate_shares: rates of parameters as shares of the trial's; others have the full rate.

    Raises:
        ConfigError: nothing trains.
        torch.OutOfMemoryError, RuntimeError: the moments do not fit.
    """
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for parameter in model.parameters():
        if parameter.requires_grad:
            grouped[rate_shares.get(parameter, 1.0), parameter.ndim >= 2].append(parameter)
    if not grouped:
        raise ConfigError("nothing of the model trains with these hyperparameters; freeze less of it")
    groups = [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, _SHARE: share}
        for (share, decays), parameters in sorted(grouped.items(), reverse=True)
    ]
    device = next(model.parameters()).device
    fused = device.type in FUSED_DEVICES
    betas = (BETA1, config.adam_beta2)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=EPSILON, fused=fused)
    if device.type == "cuda":
        for group in optimizer.param_groups:
            # A recorded step reads its rate from the device
            group |= {"lr": torch.tensor(config.learning_rate, device=device), "capturable": True}
    for parameter in (parameter for of_group in grouped.values() for parameter in of_group):
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device if fused else "cpu"),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


def take_step(optimizer: torch.optim.AdamW, max_norm: float) -> None:
    """Let AdamW move the parameters by their gradients, scaled down to an L2 norm of ``max_norm`` if theirs is larger;
    with 0 by the gradients as they are."""
    if max_norm > 0:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
        if optimizer.defaults["fused"]:
            # The kernel divides each gradient by it on the way, which saves a pass over all of them
            optimizer.grad_scale = ((norm + _NORM_EPSILON) / max_norm).clamp(min=1)  # type: ignore[attr-defined]
        else:
            clip_grads_with_norm_(parameters, max_norm, norm)
    optimizer.step()


def make_schedule(config: TrialConfig, n_steps: int) -> Callable[[int], float]:
    """Return the learning rate of each of a trial's ``n_steps`` optimizer steps, counted from 0.

    The schedule is transformers' own. As in transformers' ``Trainer``, warm-up takes ``ceil(warmup_ratio * n_steps)``
    steps.
    """
    # Only its shape is taken, from an optimizer of one unused number: a schedule that drives the trial's own
    # optimizer ties a reference cycle with it, which keeps a closed trial's memory
    stand_in = torch.optim.SGD([torch.zeros(())], lr=config.learning_rate)
    schedule = get_scheduler(
        config.lr_schedule,
        stand_in,
        num_warmup_steps=math.ceil(config.warmup_ratio * n_steps),
        num_training_steps=n_steps,
        scheduler_specific_kwargs=schedule_arguments(config.lr_schedule, n_steps, config.warmup_ratio),
    )
    (shape,) = schedule.lr_lambdas
    return lambda step: config.learning_rate * float(shape(step))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next optimizer step use ``rate``, and parameters with a share of it their share."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate * group[_SHARE])
        else:
            group["lr"] = rate * group[_SHARE]


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load ``state``, which another optimizer of the same parameters had, on whatever device."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)  # moves moments to the parameters' device, but not rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
