"""One training in several processes: each encodes a share of the cells, and all do the rest alike.

Every process knows the labels, rows and presence of the whole batch, but holds and encodes only its share of
the cells. The features of all of them are then gathered, so that heads, losses, projectors, memories and
calibration are computed by every process on the whole batch: what a method does need not know of this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")

LARGE = 2**17  # numbers that are worth a message of their own

object_group: Any = None  # for objects and small tensors on the CPU; the default group when None
_draws = torch.Generator()


def processes() -> int:
    """Return how many processes carry out the training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them; the first one writes files."""
    return distributed.get_rank() if processes() > 1 else 0


def all_gather_object(value: T) -> list[T]:
    """Return the values of all processes by rank; every process has to call this."""
    values = [value] * processes()
    if len(values) > 1:
        distributed.all_gather_object(values, value, group=object_group)
    return values


def seed(number: int) -> None:
    """Seed what is drawn: alike in all processes, but in encoders, where each draws for cells of its own."""
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:  # what that does for devices that are not there takes longer than a small batch
        torch.default_generator.manual_seed(number)
    _draws.manual_seed(hash((number, rank())))


@dataclass(frozen=True)
class Share:
    """Those cells of a modality that this process encodes, every n-th one of a batch.

    Args:
        values: Its cells [k, ...]; where it has none one of another's, as encoders need something to encode.
        places: Where they stand [k] (or none, ascending) among all cells of the batch.
        total: Number of all cells.
    """

    values: Tensor
    places: Tensor
    total: int

    def __getitem__(self, keep: Tensor) -> Share:
        """Return the share of the cells ``keep`` [total] bool."""
        mine = keep[self.places]
        places = (keep.cumsum(0) - 1)[self.places[mine]]
        values = self.values[: len(mine)][mine] if len(places) else self.values[:1]
        return Share(values, places, int(keep.sum()))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Share:
        """Return the share on ``device``."""
        values, places = (t.to(device, non_blocking=non_blocking) for t in (self.values, self.places))
        return replace(self, values=values, places=places)

    def pin_memory(self) -> Share:
        """Return the share in page-locked memory."""
        return replace(self, values=self.values.pin_memory(), places=self.places.pin_memory())


Input = Tensor | Share


def encoded(encoder: Callable[[Tensor], Tensor], inputs: Input) -> Tensor:
    """Return the features [n, d] of all of a modality's cells in the batch, whoever holds them."""
    if isinstance(inputs, Tensor):
        return encoder(inputs)
    device = inputs.values.get_device()
    with torch.random.fork_rng([device] if device >= 0 else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=_draws)))
        mine = encoder(inputs.values)
    features: Tensor = _Gathered.apply(mine[: len(inputs.places)], inputs.places, inputs.total)  # type: ignore[no-untyped-call]
    return features


class _Gathered(torch.autograd.Function):
    """All processes' features. As all compute the same loss of them, each one's gradient is in its own rows.

    ``backward`` divides the loss by the number of processes and adds up their gradients: what all have alike
    stays what it is. Here the gradient comes times that number, as each has but its own part of it.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor, places: Tensor, total: int) -> Tensor:
        ctx.save_for_backward(places)
        features = mine.new_zeros(total, *mine.shape[1:])
        features[places] = mine
        distributed.all_reduce(features)
        return features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradient[places] * processes(), None, None


def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their means over all processes."""
    if processes() == 1 or not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    distributed.all_reduce(flat)
    flat /= processes()
    for t, mean in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def backward(loss: Tensor, module: nn.Module, *, retain_graph: bool = False) -> None:
    """Leave in a module's trained parameters the gradients of what all processes computed.

    The mean over processes is taken of the loss, not of the gradients, which are many.
    """
    torch.autograd.backward(loss / processes() if processes() > 1 else loss, retain_graph=retain_graph)
    if processes() == 1:
        return
    parameters = [p for p in module.parameters() if p.requires_grad]
    # Networks may leave out layers at random: what one process used has a gradient in all of them.
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    distributed.all_reduce(used, distributed.ReduceOp.MAX, group=object_group)
    gradients: dict[int, Tensor] = {}
    for p, one in zip(parameters, used.tolist(), strict=True):
        if one:
            p.grad = torch.zeros_like(p) if p.grad is None else match_layout(p.grad, p)
            if p.grad.data_ptr() in gradients:  # autograd gives the terms of a sum one gradient
                p.grad = p.grad.clone()
            gradients[p.grad.data_ptr()] = torch.as_strided(p.grad, (p.numel(),), (1,))
    _sum_over_processes([*gradients.values()])


def match_layout(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient with the memory layout of its parameter."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace tensors [n] by their sums over all processes: large ones in place, small ones in one go."""
    small = [t for t in tensors if t.numel() < LARGE]
    flat = torch.cat(small) if small else torch.empty(0)
    sums = [flat, *(t for t in tensors if t.numel() >= LARGE)]
    for work in [distributed.all_reduce(t, async_op=True) for t in sums if len(t)]:
        work.wait()
    for t, total in zip(small, torch.split(flat, [len(t) for t in small]), strict=True):
        t.copy_(total)
