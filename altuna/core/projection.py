"""Head gradient modification: the projector that protects what the shared head has learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class OrthogonalProjector(nn.Module):
    r"""Recursive-least-squares projector onto directions that earlier features do not use.

    Projecting a head gradient, ``grad @ P``, leaves the head's outputs for the mean features of
    earlier turns nearly unchanged. Every turn removes its own mean feature :math:`r` from ``P``:

    .. math:: q = P r / (\alpha + r^\top P r), \qquad P \leftarrow P - q\, (P r)^\top

    ``P`` starts as the identity, is symmetric, its eigenvalues lie in (0, 1] (up to the rounding
    of its dtype), and it is kept in float32 or better whatever the training precision.

    The step is taken on a square root, :math:`P = S S^\top` (Potter, 1963): with :math:`f = S^\top r` and
    :math:`t = \alpha + f^\top f` it is :math:`S \leftarrow S - S f f^\top / (t + \sqrt{\alpha t})`, the
    same update. On ``P`` itself rounding turns eigenvalues negative, and large features blow those up.
    An update and a projection take O(d^2); ``P`` itself, O(d^3), is made when it is looked at or saved.

    Source: MLA, arXiv 2311.10707, eq. 5-7, after orthogonal weights modification (Zeng et al., 2019,
    arXiv 1810.01256).

    Args:
        dim: Feature dimension d of the head.
        alpha: Regulariser, > 0; the smaller, the more of a mean feature one update removes.
    """

    P: Tensor
    root: Tensor

    def __init__(self, dim: int, alpha: float = 0.1) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.dim, self.alpha = dim, alpha
        self.register_buffer("P", torch.eye(dim))
        self.register_buffer("root", torch.eye(dim))
        # A reset, and up to two updates after it, are carried out when P is next needed: what the next reset
        # undoes costs next to nothing. (Mean feature [dim] and alpha each.)
        self._fresh, self._waiting = True, list[tuple[Tensor, float]]()

    @torch.no_grad()
    def project(self, grad: Tensor) -> Tensor:
        """Return ``grad @ P`` [C, dim] in the gradient's dtype, itself while P = I; ``P`` is untouched."""
        if grad.ndim != 2 or grad.shape[1] != self.dim:
            raise ValueError(f"grad must be [C, {self.dim}], got {list(grad.shape)}")
        if self._fresh and not self._waiting:
            return grad
        with torch.autocast(grad.device.type, enabled=False):
            if self._fresh and len(self._waiting) == 1:  # P = I - q r^T takes no matrix
                r, alpha = self._waiting[0]
                wide = grad.to(r.dtype)
                wide = wide.addr(wide @ (r / (r @ r + alpha)), r, alpha=-1)
            else:
                root = self.settle()
                wide = grad.to(root.dtype) @ root @ root.T
        return wide.to(grad.dtype)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take one recursive-least-squares step on the mean of ``features`` [N, dim]; none on N = 0."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features must be [N, {self.dim}], got {list(features.shape)}")
        if features.shape[0] == 0:
            return
        if len(self._waiting) == 2:
            self.settle()
        root = self._buffers["root"]
        assert root is not None
        self._waiting.append((features.to(root.dtype).mean(dim=0), self.alpha))

    def reset(self) -> None:
        """Start afresh: ``P = I``."""
        self._fresh = True
        self._waiting.clear()

    @torch.no_grad()
    def settle(self) -> Tensor:
        """Carry out what was put off; return the square root of P [dim, dim]."""
        root = self._buffers["root"]
        assert root is not None
        if self._fresh:
            nn.init.eye_(root)
            self._fresh = False
        with torch.autocast(root.device.type, enabled=False):
            for r, alpha in self._waiting:
                f = r @ root
                total = f @ f + alpha
                root.addr_(root @ (f / (total + (alpha * total).sqrt())), f, alpha=-1)
        self._waiting.clear()
        return root

    def __getattr__(self, name: str) -> Any:  # how a module's buffers are found
        value: Any = super().__getattr__(name)
        if name in ("P", "root"):
            root = self.settle()
            if name == "P":
                with torch.no_grad(), torch.autocast(root.device.type, enabled=False):
                    value.copy_(root @ root.T)
        return value

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.settle()
        super()._load_from_state_dict(*args, **kwargs)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        _ = self.P
        super()._save_to_state_dict(*args, **kwargs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.settle()

        # Half-precision training casts modules; P would lose its small eigenvalues.
        def keep_precision(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return tensor.to(new.device) if new.element_size() < 4 else new

        return super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call, no-any-return]
