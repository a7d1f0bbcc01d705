"""Head gradient modification: the projector that protects what the shared head has learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

MANY = 16  # updates that may be pending


class OrthogonalProjector(nn.Module):
    r"""Remove the directions of earlier mean features from gradients.

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
    projection take O(d^2). ``P`` is computed when it is read or saved, in O(d^3); until then the root may lag
    behind, see ``settle``.

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
        self._is_identity = True  # whether the root is
        # Mean features, and alpha then, that are not in the root yet: where P is reset with every batch, most
        # never have to be. After one of them, grad @ P = grad - (grad @ r) r^T / (alpha + r^T r).
        self._pending: list[tuple[Tensor, float]] = []

    @property
    @torch.no_grad()
    def P(self) -> Tensor:  # noqa: N802, the paper's name
        """The projector [dim, dim], symmetric."""
        self.settle()
        with torch.autocast(self.root.device.type, enabled=False):
            return self.root @ self.root.T

    @torch.no_grad()
    def project(self, grad: Tensor) -> Tensor:
        """Return ``grad @ P`` [C, dim] in the dtype of ``grad``. After a reset P is the identity.

        Raises:
            ValueError: ``grad`` is not [C, dim].
        """
        if grad.ndim != 2 or grad.shape[1] != self.dim:
            raise ValueError(f"grad must be [C, {self.dim}], got {list(grad.shape)}")
        is_fresh = self._is_identity and len(self._pending) <= 1
        if is_fresh and not self._pending:
            return grad
        if not is_fresh:
            self.settle()
        wide = grad.to(self.root.dtype)
        with torch.autocast(grad.device.type, enabled=False):
            if is_fresh:
                ((r, alpha),) = self._pending
                projected = wide.addr(wide @ (r / (r @ r + alpha)), r, alpha=-1)
            else:
                projected = wide @ self.root @ self.root.T
        return projected.to(grad.dtype)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Update P by one step of recursive least squares with the mean of ``features`` [N, dim], if N > 0.

        Raises:
            ValueError: ``features`` is not [N, dim].
        """
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features must be [N, {self.dim}], got {list(features.shape)}")
        if features.shape[0] == 0:
            return
        self._pending.append((features.to(self.root.dtype).mean(dim=0), self.alpha))
        if len(self._pending) == MANY:
            self.settle()

    @torch.no_grad()
    def reset(self) -> None:
        """Set ``P`` to the identity."""
        self._pending.clear()
        if not self._is_identity:
            nn.init.eye_(self.root)
            self._is_identity = True

    @torch.no_grad()
    def settle(self) -> None:
        """Bring the root up to date, as it is when it is saved."""
        with torch.autocast(self.root.device.type, enabled=False):
            for r, alpha in self._pending:
                f = r @ self.root
                total = f @ f + alpha
                self.root.addr_(self.root @ (f / (total + (alpha * total).sqrt())), f, alpha=-1)
        self._is_identity = self._is_identity and not self._pending
        self._pending.clear()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.settle()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "P"] = self.P  # for readers of checkpoints; loading needs the root alone

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        known = {name: value for name, value in state_dict.items() if name != prefix + "P"}
        super()._load_from_state_dict(known, prefix, *args)
        self._pending.clear()
        self._is_identity = False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Half-precision training casts modules; P would lose its small eigenvalues.
        def keep_precision(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return tensor.to(new.device) if new.element_size() < 4 else new

        self.settle()  # pending features are not moved
        return super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call, no-any-return]
