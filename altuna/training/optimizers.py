"""Optimizers and their learning rates.

All are fused: a step reads and writes each parameter once, on CPUs too. Fused kernels go through memory in
order, whatever the strides: gradients and loaded state must have the memory layout of their parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from altuna.core.collectives import match_layout
from altuna.methods.base import Method

Fused = TypeVar("Fused", bound=torch.optim.Optimizer)


def sgd(parameters: Iterable[Any], lr: float, decay: float = 0.0) -> torch.optim.SGD:
    """Return stochastic gradient descent with a momentum of 0.9."""
    optimizer = torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=decay, fused=True)
    # A fused step fails if some parameters have a momentum and others none yet, as happens with turns.
    for group in optimizer.param_groups:
        for p in group["params"]:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return _match_layout_when_loaded(optimizer)


def adamw(parameters: Iterable[Any], lr: float, decay: float = 0.0) -> torch.optim.AdamW:
    """Return AdamW."""
    return _match_layout_when_loaded(torch.optim.AdamW(parameters, lr, weight_decay=decay, fused=True))


OPTIMIZERS: dict[str, Callable[[Iterable[Any], float, float], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "sgd": sgd,
}
# What a step reads of each parameter's state.
STATE: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.SGD: ("momentum_buffer",),
}


def _match_layout_when_loaded(optimizer: Fused) -> Fused:
    def match(optimizer: torch.optim.Optimizer) -> None:
        for p, state in optimizer.state.items():
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == p.shape:
                    state[name] = match_layout(value, p)

    optimizer.register_load_state_dict_post_hook(match)
    return optimizer


def load_optimizer(optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> None:
    """Load the state of an optimizer of the same kind for the same parameters.

    Raises:
        ValueError: A key is missing or has a wrong type or shape. PyTorch raises other kinds, too.
    """
    before = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(content)
    for i, (old, new) in enumerate(zip(before, optimizer.param_groups, strict=True)):
        for name, value in old.items():
            number = isinstance(value, int | float) and isinstance(new.get(name), int | float)
            if name not in new or not (number or type(new[name]) is type(value)):
                raise ValueError(f"optimizer.param_groups.{i}.{name} is missing or of the wrong type")
    for p, state in optimizer.state.items():
        for name in STATE[type(optimizer)]:
            shape = getattr(state.get(name), "shape", None)
            if shape != (() if name == "step" else p.shape):
                raise ValueError(f"optimizer.state: {name} of a parameter is missing or of the wrong shape")


def match_gradient_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Give each gradient the memory layout of its parameter."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None and p.grad.stride() != p.stride():
                p.grad = match_layout(p.grad, p)


def parameter_groups(method: Method, lr: float) -> list[dict[str, Any]]:
    """Return the trained parameters by peak learning rate: an encoder may have one of its own."""
    encoders = (*method.model.encoders, *method.model.expert_encoders.values())
    own = {p: getattr(e, "lr", None) or lr for e in encoders for p in e.parameters()}
    groups: dict[float, list[nn.Parameter]] = {lr: []}
    for p in method.parameters():
        if p.requires_grad:
            groups.setdefault(own.get(p, lr), []).append(p)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def learning_rate_factor(
    done: float, total: float, schedule: Mapping[str, float] | None = None, epochs: int = 1
) -> float:
    """Return the factor of the peak learning rate when ``done`` of ``total`` is trained.

    Without a schedule a linear warm-up over a twentieth, then a cosine towards 0. Else ``schedule["gamma"]``
    to the power of how often ``schedule["step"]`` of the ``epochs`` have passed.

    Example:
        >>> [round(learning_rate_factor(done, 100), 2) for done in (0, 4, 55, 100)]
        [0.2, 1.0, 0.5, 0.01]
        >>> learning_rate_factor(60, 100, {"step": 2, "gamma": 0.1}, epochs=5)
        0.1
    """
    if schedule is not None:
        return float(schedule["gamma"] ** (done * max(1, epochs) / total // schedule["step"]))
    warm = max(1, int(total) // 20)
    share = min(1.0, max(0.0, (done - warm) / total))
    return min((done + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * share))
