"""Rates, decay and clipping."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import get_scheduler

from spezia.contract.schedules import SCHEDULES
from trainer.errors import ConfigError
from trainer.train import optimizer as module
from trainer.train.optimizer import load_optimizer, make_optimizer, make_schedule, set_learning_rate, take_step
from trainer.trial.config import TrialConfig

ARGUMENTS: dict[str, dict[str, float | str]] = {
    "cosine_with_restarts": {"num_cycles": 2},
    "polynomial": {"power": 2.0},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
    "warmup_stable_decay": {"num_decay_steps": 9, "decay_type": "1-sqrt"},
}


def make_net() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_equal_those_of_transformers(name: str) -> None:
    config = TrialConfig.from_params({"learning_rate": 3e-4, "lr_schedule": name, "warmup_ratio": 0.15})
    rate_of = make_schedule(config, 41)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=7,
        num_training_steps=41,
        scheduler_specific_kwargs=ARGUMENTS.get(name),
    )
    expected = []
    for _ in range(41):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    for step in (0, 3, 7, 20, 40):
        assert rate_of(step) == expected[step]


def test_no_two_schedules_are_the_same() -> None:
    params = {"learning_rate": 3e-4, "warmup_ratio": 0.15}
    shapes = {
        tuple(map(make_schedule(TrialConfig.from_params(params | {"lr_schedule": name}), 41), range(41)))
        for name in SCHEDULES
    }
    assert len(shapes) == len(SCHEDULES)


def test_linear_rate_rises_to_the_peak_and_falls_to_zero() -> None:
    config = TrialConfig.from_params({"learning_rate": 1e-3, "warmup_ratio": 0.1})
    rate_of = make_schedule(config, 100)
    assert rate_of(0) == 0
    assert rate_of(10) == max(map(rate_of, range(100))) == 1e-3
    assert rate_of(99) == pytest.approx(1e-3 / 90)


def test_only_matrices_decay() -> None:
    net = make_net()
    optimizer = make_optimizer(net, TrialConfig.from_params({"weight_decay": 0.3}), {})
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in net.named_parameters()} == {
        "0.weight": 0.3,
        "1.weight": 0.3,
        "1.bias": 0.0,
        "2.weight": 0.0,
        "2.bias": 0.0,
        "3.weight": 0.3,
        "3.bias": 0.0,
    }


def test_decay_is_decoupled_from_the_gradient() -> None:
    net = nn.Linear(2, 2)
    before = net.weight.detach().clone()
    optimizer = make_optimizer(net, TrialConfig.from_params({"learning_rate": 0.1, "weight_decay": 0.5}), {})
    net.weight.grad, net.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(net.weight.detach(), before * (1 - 0.1 * 0.5))


class Allocations(TorchDispatchMode):
    """Counts numbers in tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(each) for each in tree_leaves(args) if isinstance(each, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        made = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor) and id(each) not in given]
        self.numbers += sum(tensor.numel() for tensor in made)
        return result


def test_a_step_takes_no_memory_and_is_that_of_plain_adamw() -> None:
    ours, plain = make_net(), make_net()
    plain.load_state_dict(ours.state_dict())
    optimizers = [
        make_optimizer(ours, TrialConfig.from_params({"learning_rate": 0.1}), {}),
        torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.0, fused=True),
    ]
    for group in optimizers[0].param_groups:
        group["weight_decay"] = 0.0
    for net in (ours, plain):
        net(torch.arange(5)).sum().backward()
    with Allocations() as mine:
        optimizers[0].step()
    with Allocations() as theirs:
        optimizers[1].step()
    assert mine.numbers == 0
    assert theirs.numbers > 2 * sum(parameter.numel() for parameter in plain.parameters())
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_frozen_parameters_are_left_out() -> None:
    net = make_net()
    net[0].requires_grad_(False)
    optimizer = make_optimizer(net, TrialConfig.from_params({}), {})
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


@pytest.mark.parametrize("fused_devices", [("cpu",), ()], ids=["fused", "not-fused"])
@pytest.mark.parametrize(("norms", "limit"), [((10.0, 0.01, 10.0), 1.0), ((0.5, 9.0), 3.0), ((10.0, 5.0), 0.0)])
def test_steps_are_those_of_adamw_after_clip_grad_norm(
    norms: tuple[float, ...], limit: float, fused_devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, plain = make_net(), make_net()
    plain.load_state_dict(ours.state_dict())
    monkeypatch.setattr(module, "FUSED_DEVICES", fused_devices)
    optimizer = make_optimizer(ours, TrialConfig.from_params({"learning_rate": 0.1, "weight_decay": 0.0}), {})
    reference = torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.0)
    for step, norm in enumerate(norms):
        generator = torch.Generator().manual_seed(step)
        for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
            one.grad = norm * torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        if limit:
            nn.utils.clip_grad_norm_(plain.parameters(), limit)
        take_step(optimizer, limit)
        reference.step()
        for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_breaks_the_weights_where_it_shows(broken: float) -> None:
    net = make_net()
    optimizer = make_optimizer(net, TrialConfig.from_params({}), {})
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    net[0].weight.grad[0, 0] = broken
    take_step(optimizer, 1.0)
    assert net[0].weight[0, 0].isnan()


def test_a_loaded_state_leaves_rates_where_a_recorded_step_reads_them() -> None:
    net = make_net()
    optimizer, other = (make_optimizer(net, TrialConfig.from_params({}), {}) for _ in range(2))
    rates = [torch.tensor(0.0) for _ in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    load_optimizer(optimizer, other.state_dict())
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == rates == [torch.tensor(0.125)] * len(rates)
    assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, rates, strict=True))


def test_set_rate_reaches_every_group_by_its_share() -> None:
    net = make_net()
    optimizer = make_optimizer(net, TrialConfig.from_params({}), dict.fromkeys(net[0].parameters(), 0.5))
    set_learning_rate(optimizer, 0.125)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[p] for name, p in net.named_parameters() if name.endswith("weight")} == {
        "0.weight": 0.0625,
        "1.weight": 0.125,
        "2.weight": 0.125,
        "3.weight": 0.125,
    }


def test_beta2_reaches_adam() -> None:
    optimizer = make_optimizer(make_net(), TrialConfig.from_params({"adam_beta2": 0.95}), {})
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.95)}


def test_a_model_of_which_nothing_trains_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing of the model trains"):
        make_optimizer(make_net().requires_grad_(False), TrialConfig.from_params({}), {})


def test_the_decay_of_a_stable_schedule_never_begins_in_warm_up() -> None:
    config = TrialConfig.from_params({"learning_rate": 1e-3, "lr_schedule": "warmup_stable_decay", "warmup_ratio": 0.9})
    rate_of = make_schedule(config, 20)
    assert [rate_of(step) for step in range(18)] == pytest.approx([1e-3 * step / 18 for step in range(18)])
    assert rate_of(18) == 1e-3
    assert 0 < rate_of(19) < 1e-3
