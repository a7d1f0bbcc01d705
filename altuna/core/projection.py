"""Head gradient modification: the projector that protects what the shared head has learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class OrthogonalProjector(nn.Module):
    r"""Project gradients onto the directions that earlier features do not use.

    With the projected gradient ``grad @ P``, a step hardly changes the head's outputs for the mean
    features of earlier turns. Every turn removes the direction of its own mean feature :math:`r` from
    ``P`` by a step of recursive least squares:

    .. math:: q = P r / (\alpha + r^\top P r), \qquad P \leftarrow P - q\, (P r)^\top

    ``P`` starts as the identity, is symmetric, its eigenvalues lie in (0, 1] (up to the rounding
    of its dtype), and it is kept in float32 or better whatever the training precision.

    The module stores a square root of P, the buffer ``root``, :math:`P = S S^\top` (Potter, 1963):
    with :math:`f = S^\top r` and :math:`t = \alpha + f^\top f` the same step is
    :math:`S \leftarrow S - S f f^\top / (t + \sqrt{\alpha t})`. If ``P`` itself were updated, rounding could
    make eigenvalues negative, and large features would make them grow without bound. An update and a
    projection take O(d^2). ``P`` is computed when it is read or saved, in O(d^3).

    Source: MLA, arXiv 2311.10707, eq. 5-7, after orthogonal weights modification (Zeng et al., 2019,
    arXiv 1810.01256).

    Args:
        dim: Feature dimension d of the head.
        alpha: Regulariser, > 0; with a smaller alpha, one update removes more of the mean feature.

    Raises:
        ValueError: ``dim`` is below 1 or ``alpha`` is not positive.

    Example:
        >>> import torch
        >>> projector = OrthogonalProjector(3, alpha=0.1)
        >>> projector.update(torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        >>> projector.project(torch.ones(1, 3))  # what is left along the mean feature is small
        tensor([[0.0244, 1.0000, 1.0000]])
    """

    root: Tensor

    def __init__(self, dim: int, alpha: float = 0.1) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.dim, self.alpha = dim, alpha
        self.register_buffer("root", torch.eye(dim))
        # A shortcut for a projector that is reset with every batch: (q, r) of its updates since the reset, as
        # long as these are at most one, None otherwise. After one, grad @ P = grad - (grad @ q) r^T.
        self._since_reset: list[tuple[Tensor, Tensor]] | None = None

    @property
    @torch.no_grad()
    def P(self) -> Tensor:  # noqa: N802, the paper's name
        """The projector [dim, dim], symmetric."""
        with torch.autocast(self.root.device.type, enabled=False):
            return self.root @ self.root.T

    @torch.no_grad()
    def project(self, grad: Tensor) -> Tensor:
        """Return ``grad @ P`` [C, dim] in the gradient's dtype; right after a reset ``grad`` itself.

        Raises:
            ValueError: ``grad`` is not [C, dim].
        """
        if grad.ndim != 2 or grad.shape[1] != self.dim:
            raise ValueError(f"grad must be [C, {self.dim}], got {list(grad.shape)}")
        if self._since_reset == []:
            return grad
        wide = grad.to(self.root.dtype)
        with torch.autocast(grad.device.type, enabled=False):
            if self._since_reset is None:
                projected = wide @ self.root @ self.root.T
            else:
                ((q, r),) = self._since_reset
                projected = wide.addr(wide @ q, r, alpha=-1)
        return projected.to(grad.dtype)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take one step of recursive least squares on the mean of ``features`` [N, dim]; none if N = 0.

        Raises:
            ValueError: ``features`` is not [N, dim].
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features must be [N, {self.dim}], got {list(features.shape)}")
        if features.shape[0] == 0:
            return
        is_fresh = self._since_reset == []  # the root is the identity: no need to multiply by it
        with torch.autocast(features.device.type, enabled=False):
            r = features.to(self.root.dtype).mean(dim=0)
            f = r if is_fresh else r @ self.root
            total = f @ f + self.alpha
            step = f / (total + (self.alpha * total).sqrt())
            self.root.addr_(step if is_fresh else self.root @ step, f, alpha=-1)
            self._since_reset = [(r / total, r)] if is_fresh else None

    @torch.no_grad()
    def reset(self) -> None:
        """Set ``P`` to the identity."""
        nn.init.eye_(self.root)
        self._since_reset = []

    def drop_shortcut(self) -> None:
        """Project by the stored root from now on, as a projector does that was saved and loaded."""
        self._since_reset = None

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "P"] = self.P  # for readers of checkpoints; loading needs the root alone

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        known = {name: value for name, value in state_dict.items() if name != prefix + "P"}
        super()._load_from_state_dict(known, prefix, *args)
        self.drop_shortcut()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Half-precision training casts modules; P would lose its small eigenvalues.
        def keep_precision(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return tensor.to(new.device) if new.element_size() < 4 else new

        self.drop_shortcut()  # its vectors are not moved
        return super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call, no-any-return]
