"""Test-time fusion: one prediction per sample from the logits of the modalities it has."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Rule = Literal["entropy", "product", "mean", "fixed"]
RULES: tuple[str, ...] = get_args(Rule)


class Fusion(NamedTuple):
    """Fused logits [B, C], probabilities [B, C], and each modality's weight [M, B] (columns sum to 1)."""

    logits: Tensor
    probabilities: Tensor
    weights: Tensor


def fuse(
    logits: Tensor,
    present: Tensor | None = None,
    rule: Rule = "entropy",
    temperatures: Tensor | None = None,
    fixed_weights: Tensor | None = None,
) -> Fusion:
    r"""Fuse unimodal logits per sample; no weight depends on another sample of the batch.

    With :math:`z_m` the logits of modality m (divided by its temperature, if any), :math:`e_m` the
    entropy of its softmax, and sums over the modalities that the sample has:

    - ``entropy``: :math:`\sum_m w_m z_m` with :math:`w_m \propto \exp(\max_v e_v - e_m)`
      (MLA, arXiv 2311.10707, eq. 8-9);
    - ``product``: :math:`\sum_m \log\mathrm{softmax}(z_m)`, the product of experts. The weight shown
      is the share of information that m brings, :math:`w_m \propto \log C - e_m`;
    - ``mean``: :math:`\sum_m z_m / M_{present}`;
    - ``fixed``: :math:`\sum_m w_m z_m` with ``fixed_weights``, renormalised over what is present.

    Entropies are computed in float64 where the device has it, the result has the dtype of ``logits``
    (at least float32).

    Args:
        logits: [M, B, C]. Entries of absent modalities are ignored, whatever they hold.
        present: [M, B] bool, which modalities each sample has; all when None.
        rule: One of ``entropy``, ``product``, ``mean``, ``fixed``.
        temperatures: [M] positive; ``z_m / T_m`` is fused. With temperatures fitted on validation data
            the rules are called ``calibrated_entropy`` and ``calibrated_product``.
        fixed_weights: [M] non-negative weights of the rule ``fixed`` (equal when None).

    Raises:
        ValueError: A sample has no modality (its rows are named), or a shape, rule or value is wrong.
    """
    present, temperatures, fixed_weights = _check(logits, present, rule, temperatures, fixed_weights)
    mask = present.unsqueeze(-1)
    z = torch.where(mask, logits, 0).to(_wide(logits))
    if temperatures is not None:
        z = z / temperatures.to(z).view(-1, 1, 1)
    weights: Tensor
    if rule == "product":
        scores = z.log_softmax(-1)
        information = torch.log(z.new_tensor(z.shape[-1])) - _entropy(scores)
        weights = _normalise(torch.where(present, information.clamp_min(0), 0), present)
        fused = (scores * mask).sum(0)
    else:
        if rule == "entropy":
            entropy = _entropy(z.log_softmax(-1)).masked_fill(~present, torch.inf)
            weights = (-entropy).softmax(0)
        elif rule == "mean":
            weights = present.to(z) / present.sum(0)
        else:
            weights = _normalise(present * fixed_weights.to(z).view(-1, 1), present)
        fused = (weights.unsqueeze(-1) * z).sum(0)
    out = torch.promote_types(logits.dtype, torch.float32)
    return Fusion(fused.to(out), fused.softmax(-1).to(out), weights.to(out))


def _wide(logits: Tensor) -> torch.dtype:
    """Return float64, or float32 where the device has no float64 (Apple's MPS)."""
    return torch.float32 if logits.device.type == "mps" else torch.float64


def _entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy in nats over the last axis."""
    # 0 log 0 = 0, and its gradient is 0: clamped, a log-probability of -inf makes neither NaN.
    lowest = torch.finfo(log_probabilities.dtype).min
    return -(log_probabilities.exp() * log_probabilities.clamp_min(lowest)).sum(-1)


def _normalise(weights: Tensor, present: Tensor) -> Tensor:
    """Scale [M, B] weights to sum to 1 per sample; equal weights where all of them are 0."""
    total = weights.sum(0)
    return torch.where(total > 0, weights / total.where(total > 0, 1), present.to(weights) / present.sum(0))


def _check(
    logits: Tensor,
    present: Tensor | None,
    rule: str,
    temperatures: Tensor | None,
    fixed_weights: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor]:
    if logits.ndim != 3 or logits.shape[0] == 0 or logits.shape[2] == 0:
        raise ValueError(f"logits must be [M, B, C] with M, C >= 1, got {list(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating point, got {logits.dtype}")
    if rule not in RULES:
        calibrated = "; calibrated rules are these with temperatures" if rule.startswith("calibrated") else ""
        raise ValueError(f"unknown fusion rule {rule!r}; the rules are {', '.join(RULES)}{calibrated}")
    modalities = logits.shape[0]
    if present is None:
        present = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
    if present.shape != logits.shape[:2] or present.dtype != torch.bool:
        raise ValueError(
            f"present must be bool {list(logits.shape[:2])}, got {present.dtype} {list(present.shape)}"
        )
    in_graph = torch.compiler.is_compiling()  # which can look at shapes, but not at values
    absent = present.new_empty(0) if in_graph else (~present.any(0)).nonzero().flatten()
    if len(absent):
        rows = ", ".join(map(str, absent[:10].tolist()))
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        raise ValueError(f"no modality is present in rows {rows}{more}")
    for name, values in (("temperatures", temperatures), ("fixed_weights", fixed_weights)):
        if values is not None and values.shape != (modalities,):
            raise ValueError(f"{name} must be [{modalities}], got {list(values.shape)}")
    if temperatures is not None and not in_graph and not (temperatures > 0).all():
        raise ValueError(f"temperatures must be positive, got {temperatures.tolist()}")
    if fixed_weights is not None and not in_graph and not (fixed_weights >= 0).all():
        raise ValueError(f"fixed_weights must not be negative, got {fixed_weights.tolist()}")
    if fixed_weights is None:
        fixed_weights = logits.new_ones(modalities)
    return present, temperatures, fixed_weights
