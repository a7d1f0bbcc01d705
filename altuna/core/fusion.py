"""Test-time fusion: one prediction per sample from the logits of the modalities it has."""

from __future__ import annotations

import math
from functools import cached_property, reduce
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Rule = Literal["entropy", "product", "mean", "fixed"]
RULES: tuple[str, ...] = get_args(Rule)
FEW_CLASSES = 32  # up to which samples lie side by side in memory, and vector instructions take them together


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
    _check_rule(rule)
    opinions = Opinions(logits, present, temperatures, fixed_weights)
    if fixed_weights is not None:
        _check_values("fixed_weights", fixed_weights, len(logits))
        if not torch.compiler.is_compiling() and not (fixed_weights >= 0).all():
            raise ValueError(f"fixed_weights must not be negative, got {fixed_weights.tolist()}")
    return rounded(opinions.logits(rule), opinions.weights(rule), logits.dtype)


def rounded(logits: Tensor, weights: Tensor, dtype: torch.dtype) -> Fusion:
    """Return fused logits and weights as a fusion of a dtype, float32 at least."""
    out = torch.promote_types(dtype, torch.float32)
    return Fusion(logits.to(out), log_softmax(logits).exp().to(out), weights.to(out))


class Opinions:
    """What modalities say of samples, ready to be fused by several rules: what these share is computed once.

    Args:
        logits: As in ``fuse``.
        present: Likewise.
        temperatures: Likewise.
        fixed_weights: Likewise.

    Raises:
        ValueError: See ``fuse``.
    """

    def __init__(
        self,
        logits: Tensor,
        present: Tensor | None = None,
        temperatures: Tensor | None = None,
        fixed_weights: Tensor | None = None,
    ) -> None:
        self.present = _check(logits, present, temperatures)
        self._mask = self.present.unsqueeze(-1)
        wide = _wide(logits)
        if logits.shape[-1] < FEW_CLASSES:
            logits = logits.transpose(1, 2).to(wide, memory_format=torch.contiguous_format).transpose(1, 2)
        z = torch.where(self._mask, logits.to(wide), 0)
        self._z = z if temperatures is None else z / temperatures.to(z).view(-1, 1, 1)
        self._fixed = z.new_ones(len(z)) if fixed_weights is None else fixed_weights.to(z)

    def logits(self, rule: Rule) -> Tensor:
        """Return the fused logits [B, C], in the precision they were computed in."""
        if rule == "product":
            return _total(self.log_probabilities * self._mask)
        # Clamped, a logit of -inf makes no NaN of a weight of 0, nor of the gradient of any.
        return _total(self.weights(rule).unsqueeze(-1) * self._z.clamp_min(torch.finfo(self._z.dtype).min))

    def weights(self, rule: Rule) -> Tensor:
        """Return the weights [M, B], likewise."""
        z, present = self._z, self.present
        if rule == "product":
            information = math.log(z.shape[-1]) - self._entropy
            return _normalise(torch.where(present, information.clamp_min(0), 0), present)
        if rule == "entropy":
            return (-self._entropy.masked_fill(~present, torch.inf)).softmax(0)
        if rule == "mean":
            return present.to(z) / present.sum(0)
        return _normalise(present * self._fixed.view(-1, 1), present)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """Those of each modality [M, B, C], likewise."""
        return log_softmax(self._z)

    @cached_property
    def _entropy(self) -> Tensor:
        """Of each modality's probabilities [M, B], in nats."""
        known = self.log_probabilities
        # 0 log 0 = 0, and its gradient is 0: clamped, a log-probability of -inf makes neither NaN.
        return -(known.exp() * known.clamp_min(torch.finfo(known.dtype).min)).sum(-1)


def _total(opinions: Tensor) -> Tensor:
    """Return the sum over modalities; torch's own takes ten times as long where classes lie apart."""
    return reduce(torch.add, opinions.unbind())


def _wide(logits: Tensor) -> torch.dtype:
    """Return float64, or float32 where the device has no float64 (Apple's MPS)."""
    return torch.float32 if logits.device.type == "mps" else torch.float64


def log_softmax(logits: Tensor) -> Tensor:
    """Return the logarithm of the softmax over the last axis; torch's own is far slower for few classes."""
    shifted = logits - logits.amax(-1, keepdim=True).detach()
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def highest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum over the last axis and where it is first; torch's own is slower for few classes."""
    classes = logits.shape[-1]
    if classes >= FEW_CLASSES:
        return logits.max(-1)
    most = logits.amax(-1)
    from_last = torch.arange(classes, 0, -1, dtype=torch.uint8, device=logits.device)
    first = classes - ((logits == most.unsqueeze(-1)) * from_last).amax(-1).long()
    return most, first.clamp_max(classes - 1)  # NaN is nowhere


def _normalise(weights: Tensor, present: Tensor) -> Tensor:
    """Scale [M, B] weights to sum to 1 per sample; equal weights where all of them are 0."""
    total = weights.sum(0)
    return torch.where(total > 0, weights / total.where(total > 0, 1), present.to(weights) / present.sum(0))


def _check_rule(rule: str) -> None:
    if rule not in RULES:
        calibrated = "; calibrated rules are these with temperatures" if rule.startswith("calibrated") else ""
        raise ValueError(f"unknown fusion rule {rule!r}; the rules are {', '.join(RULES)}{calibrated}")


def _check(logits: Tensor, present: Tensor | None, temperatures: Tensor | None) -> Tensor:
    """Raise ValueError if something is wrong; return ``present``, also where it is None."""
    if logits.ndim != 3 or logits.shape[0] == 0 or logits.shape[2] == 0:
        raise ValueError(f"logits must be [M, B, C] with M, C >= 1, got {list(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits must be floating point, got {logits.dtype}")
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
    if temperatures is not None:
        _check_values("temperatures", temperatures, len(logits))
        if not in_graph and not (temperatures > 0).all():
            raise ValueError(f"temperatures must be positive, got {temperatures.tolist()}")
    return present


def _check_values(name: str, values: Tensor, modalities: int) -> None:
    if values.shape != (modalities,):
        raise ValueError(f"{name} must be [{modalities}], got {list(values.shape)}")
