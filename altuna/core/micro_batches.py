"""Encoding of a batch in parts, which trades a second forward pass for memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def encode_in_parts(encoder: nn.Module, adapter: nn.Module, inputs: Tensor, rows: int) -> Tensor:
    """Return the features [n, d] of inputs [n, ...], encoded ``rows`` at a time.

    Of each part only the features are kept; backward encodes it again, so that the gradients are those of the
    full batch and the memory that of a part.

    Example:
        >>> import torch
        >>> encoder = nn.Linear(3, 2)
        >>> x = torch.randn(5, 3)
        >>> torch.allclose(encode_in_parts(encoder, nn.Identity(), x, rows=2), encoder(x))
        True
    """

    def encode(part: Tensor) -> Tensor:
        features: Tensor = adapter(encoder(part))
        return features

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _FrozenStatistics(encoder)

    parts = torch.split(inputs, rows)
    return torch.cat([checkpoint(encode, p, use_reentrant=False, context_fn=contexts) for p in parts])


class _FrozenStatistics(AbstractContextManager[None]):
    """Keeps running statistics as they are: a part that is encoded again has been counted already.

    It may be entered once for each of several losses.
    """

    def __init__(self, module: nn.Module) -> None:
        self.norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, before in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = before
