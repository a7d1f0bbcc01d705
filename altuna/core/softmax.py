"""Softmax and maximum over few classes, much faster than PyTorch's own."""

from __future__ import annotations

import torch
from torch import Tensor

FEW_CLASSES = (
    32  # below this many, the classes of samples are laid out so that vector instructions reach them
)


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the last axis, much faster than torch's for few classes.

    Example:
        >>> import torch
        >>> log_softmax(torch.zeros(1, 4)).exp()
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    shifted = logits - logits.amax(-1, keepdim=True).detach()
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def max_and_argmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum over the last axis and its first position, faster than torch's for few classes.

    Example:
        >>> import torch
        >>> max_and_argmax(torch.tensor([[1.0, 3.0, 3.0]]))
        (tensor([3.]), tensor([1]))
    """
    classes = logits.shape[-1]
    if classes >= FEW_CLASSES:
        return logits.max(-1)
    maximum = logits.amax(-1)
    from_last = torch.arange(classes, 0, -1, dtype=torch.uint8, device=logits.device)
    first = classes - ((logits == maximum.unsqueeze(-1)) * from_last).amax(-1).long()
    return maximum, first.clamp_max(classes - 1)  # no position equals a maximum of NaN
