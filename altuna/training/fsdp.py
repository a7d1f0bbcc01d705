"""Encoders whose parameters are split over the processes of a training: ``--strategy fsdp``.

Each process keeps a part of every parameter of the encoders, of its gradient and of the optimizer's state; a
layer's parameters are put together while it computes (PyTorch's FSDP2). The rest of the model, which methods
look into, every process has whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from altuna.core.collectives import is_split, processes, rank, whole
from altuna.core.model import MultimodalClassifier
from altuna.errors import UserError


def split(model: MultimodalClassifier, device: torch.device) -> Callable[[], None]:
    """Split a model's encoders over all processes; return what puts them together again in each.

    Args:
        model: Its encoders are changed in place.
        device: That of this process.

    Raises:
        UserError: An encoder, or this version of PyTorch, is not made for it.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise UserError(f"strategy: fsdp needs a later PyTorch than {torch.__version__}")
    whole_ones = copy.deepcopy(model.encoders, {id(p): _hollow(p) for p in model.encoders.parameters()})
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where FSDP2 moves them to
    mesh = init_device_mesh(device.type, (processes(),))
    for p in model.encoders.parameters():
        p.data = p.data.contiguous()  # whatever the memory format: it can be split along its first axis only
    for name, encoder in zip(model.modalities, model.encoders, strict=True):
        try:
            for layer in _layers(encoder):
                fully_shard(layer, mesh=mesh, reshard_after_forward=True)
                assert isinstance(layer, FSDPModule)
                # A sum, as of all other parameters: sharing.backward has divided.
                layer.set_gradient_divide_factor(1.0)
                layer.set_force_sum_reduction_for_comms(True)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"strategy: fsdp cannot split the encoder of {name}: {error}") from None

    def together() -> None:
        state = {name: whole(tensor).cpu() for name, tensor in model.encoders.state_dict().items()}
        whole_ones.load_state_dict(state, assign=True)
        model.encoders = whole_ones

    return together


def _hollow(parameter: nn.Parameter) -> nn.Parameter:
    """Return a parameter of the same shape that takes no memory."""
    return nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)


def _layers(encoder: nn.Module) -> Iterator[nn.Module]:
    """Yield what is put together at once: the layers of a stack, as of a transformer, then what is left."""
    stacks = [m for m in encoder.modules() if isinstance(m, nn.ModuleList)]
    layers = dict.fromkeys(layer for stack in reversed(stacks) for layer in stack)  # one may stand twice
    for layer in [*layers, encoder]:
        if any(True for _ in layer.parameters()) and not isinstance(layer, nn.ModuleList | nn.ModuleDict):
            yield layer


def collected(tensor: Any) -> Any:
    """Return all of a tensor to the first process, on the CPU; every process has to call this."""
    everything = whole(tensor)
    return everything.cpu() if is_split(tensor) and rank() == 0 else tensor


def part_of(tensor: Any, like: Any) -> Any:
    """Return the part of a whole tensor that this process has, if ``like`` is split and of the same shape."""
    if is_split(tensor) or not is_split(like) or getattr(tensor, "shape", None) != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """Scale gradients to a norm of ``most`` if theirs is larger; return theirs. All processes call this."""
    having = [p for p in parameters if p.grad is not None]
    kinds = [some for kind in (False, True) if (some := [p for p in having if is_split(p) == kind])]
    norms = [whole(nn.utils.get_total_norm([p.grad for p in some if p.grad is not None])) for some in kinds]
    norm: Tensor = torch.stack(norms or [torch.zeros(())]).norm()
    for some in kinds:
        nn.utils.clip_grads_with_norm_(some, most, norm)
    return norm
