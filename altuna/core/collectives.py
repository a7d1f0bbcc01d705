"""One training in several processes: each encodes a share of the cells, and all do the rest in the same way.

Every process knows the labels, rows and presence of the whole batch, but holds and encodes only its share of
the cells. The features of all of them are then gathered, so that heads, losses, projectors, memories and
calibration are computed by every process on the whole batch. So methods need no code for several processes.
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
    """Return the number of processes of the training.

    Example:
        >>> processes()
        1
    """
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process; rank 0 writes the files.

    Example:
        >>> rank()
        0
    """
    return distributed.get_rank() if processes() > 1 else 0


def all_gather_object(value: T) -> list[T]:
    """Return the values of all processes by rank. Every process must call this.

    Example:
        >>> all_gather_object("a")
        ['a']
    """
    values = [value] * processes()
    if len(values) > 1:
        distributed.all_gather_object(values, value, group=object_group)
    return values


def seed(number: int) -> None:
    """Seed the random generators: equally in all processes, except in encoders, which differ by process.

    Example:
        >>> seed(0)
        >>> first = torch.rand(3)
        >>> seed(0)
        >>> torch.equal(torch.rand(3), first)
        True
    """
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:  # what that does for devices that are not there takes longer than a small batch
        torch.default_generator.manual_seed(number)
    _draws.manual_seed(hash((number, rank())))


@dataclass(frozen=True)
class Share:
    """The cells of a modality that this process encodes: every n-th cell of a batch.

    Args:
        values: The cells [k, ...]; if the process has none, one cell of another process, because an encoder
            needs input.
        places: Positions [k] (ascending; empty if the process has none) of the cells among all cells of the
            batch.
        total: Number of cells of all processes.

    Example:
        >>> share = Share(torch.zeros(2, 3), places=torch.tensor([0, 2]), total=4)
        >>> share[torch.tensor([False, True, True, True])].places
        tensor([1])
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
    """Return the features [n, d] of all cells of a modality in the batch, from all processes.

    Example:
        >>> encoded(nn.Linear(3, 2), torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """
    if isinstance(inputs, Tensor):
        return encoder(inputs)
    device = inputs.values.get_device()
    with torch.random.fork_rng([device] if device >= 0 else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=_draws)))
        mine = encoder(inputs.values)
    features: Tensor = _Gathered.apply(mine[: len(inputs.places)], inputs.places, inputs.total)  # type: ignore[no-untyped-call]
    return features


class _Gathered(torch.autograd.Function):
    """Gather the features of all processes, and in the backward pass select the gradient of one's own.

    All processes compute the same loss from the gathered features. ``backward`` (of this module) divides
    the loss by the number of processes and sums the gradients of parameters, so parameters that all
    processes use alike get the right gradient. The gradient of a process's own features is multiplied by
    that number, because it occurs in one process only.
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
    """Replace tensors by their means over all processes, in place.

    Example:
        >>> statistics = torch.tensor([1.0, 3.0])
        >>> average([statistics])
        >>> statistics  # of one process: its own
        tensor([1., 3.])
    """
    if processes() == 1 or not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    distributed.all_reduce(flat)
    flat /= processes()
    for t, mean in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def backward(loss: Tensor, module: nn.Module, *, retain_graph: bool = False) -> None:
    """Compute the gradients of a loss with respect to a module's parameters, summed over all processes.

    Instead of the gradients, the loss is divided by the number of processes, which is cheaper.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> backward(layer(torch.tensor([[3.0, 5.0]])).sum(), layer)
        >>> layer.weight.grad
        tensor([[3., 5.]])
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
    """Return a gradient with the memory layout of its parameter.

    Example:
        >>> gradient, parameter = torch.ones(3, 2).T, torch.zeros(2, 3)
        >>> gradient.stride(), match_layout(gradient, parameter).stride()
        ((1, 2), (3, 1))
    """
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
