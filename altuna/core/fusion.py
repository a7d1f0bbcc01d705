"""Test-time fusion: one prediction per sample from the logits of the modalities it has."""

from __future__ import annotations

import math
from functools import cached_property, reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

FEW_CLASSES = (
    32  # below this many, the classes of samples are laid out so that vector instructions reach them
)


class Rule(NamedTuple):
    """A fusion rule.

    Args:
        pool: How unimodal logits are combined, see ``fuse``.
        calibrated: Whether unimodal logits are first divided by the temperatures.
        joint: How joint logits are used: ``unused``, ``alone`` (they are the prediction, and ``pool`` only
            gives the reported weights), or ``expert`` (one more factor of the product, for samples that
            have all modalities).

    Example:
        >>> RULES["calibrated_product"]
        Rule(pool='product', calibrated=True, joint='unused')
    """

    pool: Literal["entropy", "product", "mean", "fixed"]
    calibrated: bool = False
    joint: Literal["unused", "alone", "expert"] = "unused"


RULES: dict[str, Rule] = {
    "entropy": Rule("entropy"),
    "product": Rule("product"),
    "mean": Rule("mean"),
    "fixed": Rule("fixed"),
    "calibrated_entropy": Rule("entropy", calibrated=True),
    "calibrated_product": Rule("product", calibrated=True),
    "calibrated_mean": Rule("mean", calibrated=True),
    "calibrated_fixed": Rule("fixed", calibrated=True),
    "joint": Rule("product", calibrated=True, joint="alone"),
    "experts": Rule("product", calibrated=True, joint="expert"),
}


class Fusion(NamedTuple):
    """A fused prediction of B samples.

    Attributes:
        logits: Fused logits [B, C].
        probabilities: Their softmax [B, C].
        weights: Fusion weights of the modalities [M, B]; those of a sample sum to 1.

    Example:
        >>> fusion = fuse(torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]]), rule="mean")
        >>> fusion.logits.tolist(), fusion.weights.tolist()
        ([[1.0, 0.0]], [[0.5], [0.5]])
    """

    logits: Tensor
    probabilities: Tensor
    weights: Tensor


def fuse(
    logits: Tensor,
    present: Tensor | None = None,
    rule: str = "entropy",
    temperatures: Tensor | None = None,
    fixed_weights: Tensor | None = None,
    joint: Tensor | None = None,
    joint_temperature: Tensor | None = None,
) -> Fusion:
    r"""Fuse unimodal logits per sample; no weight depends on another sample of the batch.

    With :math:`z_m` the logits of modality m (divided by its temperature, if any), :math:`e_m` the
    entropy of its softmax, and sums over the modalities that the sample has:

    - ``entropy``: :math:`\sum_m w_m z_m` with :math:`w_m \propto \exp(\max_v e_v - e_m)`
      (MLA, arXiv 2311.10707, eq. 8-9);
    - ``product``: :math:`\sum_m \log\mathrm{softmax}(z_m)`, the product of experts. The reported
      weight is the information in the prediction of m, :math:`w_m \propto \log C - e_m`;
    - ``mean``: :math:`\sum_m z_m / M_{present}`;
    - ``fixed``: :math:`\sum_m w_m z_m` with ``fixed_weights``, renormalised over the present modalities;
    - ``calibrated_entropy``, ``calibrated_product``, ``calibrated_mean``, ``calibrated_fixed``: the same, and
      ``temperatures``, fitted on validation data, must be given;
    - ``joint``: the logits of a joint head, with the weights of ``calibrated_product``;
    - ``experts``: ``calibrated_product`` with the joint head, divided by its own temperature, as one more
      factor for the samples that have all modalities.

    Entropies are computed in float64 where the device has it, the result has the dtype of ``logits``
    (at least float32).

    Args:
        logits: [M, B, C]. Entries of absent modalities are ignored, even NaN.
        present: [M, B] bool, which modalities each sample has; all when None.
        rule: One of ``RULES``.
        temperatures: [M] positive; if given, ``z_m / T_m`` is fused by every rule.
        fixed_weights: [M] non-negative weights of the rule ``fixed`` (equal when None).
        joint: [B, C] logits of a joint head, for ``joint`` and ``experts``.
        joint_temperature: [] positive, for ``experts`` (1 when None).

    Raises:
        ValueError: A sample has no modality (its rows are named), or a shape, rule or value is wrong.

    Example:
        >>> import torch
        >>> sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.5]])
        >>> fused = fuse(torch.stack([sure, unsure]), rule="entropy")
        >>> fused.weights
        tensor([[0.6394],
                [0.3606]])
        >>> fused.probabilities.argmax(1)
        tensor([0])
    """
    chosen = rule_of(rule)
    if chosen.calibrated and temperatures is None:
        raise ValueError(f"the fusion rule {rule!r} needs temperatures")
    opinions = Opinions(logits, present, temperatures, fixed_weights, joint, joint_temperature)
    return opinions.fuse(chosen._replace(calibrated=temperatures is not None))


def rule_of(name: str) -> Rule:
    """Return a rule by its name.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> rule_of("experts")
        Rule(pool='product', calibrated=True, joint='expert')
    """
    if name not in RULES:
        raise ValueError(f"unknown fusion rule {name!r}; the rules are {', '.join(RULES)}")
    return RULES[name]


class Opinions:
    """What the modalities of B samples, and a joint head, say; to be fused by any number of rules.

    What several rules share, such as entropies, is computed once. Results are in float64 where the device
    has it.

    Args:
        logits: [M, B, C], see ``fuse`` for all of them.
        present: [M, B] bool; all when None.
        temperatures: [M], for calibrated rules (1 when None).
        fixed_weights: [M], for the rule ``fixed`` (1 when None).
        joint: [B, C], for ``joint`` and ``experts``.
        joint_temperature: [], for ``experts`` (1 when None).

    Raises:
        ValueError: See ``fuse``.

    Example:
        >>> import torch
        >>> opinions = Opinions(torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]]))
        >>> {name: opinions.fuse(RULES[name]).logits.tolist() for name in ("mean", "fixed")}
        {'mean': [[1.0, 0.5]], 'fixed': [[1.0, 0.5]]}
    """

    def __init__(
        self,
        logits: Tensor,
        present: Tensor | None = None,
        temperatures: Tensor | None = None,
        fixed_weights: Tensor | None = None,
        joint: Tensor | None = None,
        joint_temperature: Tensor | None = None,
    ) -> None:
        self.present = _check(logits, present, temperatures, fixed_weights, joint)
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self._logits, self._temperatures, self._fixed = logits, temperatures, fixed_weights
        self._joint, self._joint_temperature = joint, joint_temperature

    def fuse(self, rule: Rule) -> Fusion:
        """Return the prediction by a rule, in the dtype of the logits, float32 at least."""
        return self.prediction(self.logits(rule), rule)

    def prediction(self, logits: Tensor, rule: Rule) -> Fusion:
        """Return fused logits [B, C], maybe rescaled since, as a prediction with the weights of a rule."""
        return Fusion(
            logits.to(self.dtype), log_softmax(logits).exp().to(self.dtype), self.weights(rule).to(self.dtype)
        )

    def logits(self, rule: Rule) -> Tensor:
        """Return the fused logits [B, C] by a rule."""
        if rule.joint == "alone":
            return self._joint_logits
        pooled = self._pooled(rule)
        if rule.joint == "expert":
            temperature = 1.0 if self._joint_temperature is None else self._joint_temperature.to(pooled)
            expert = log_softmax(self._joint_logits / temperature)
            pooled = pooled + expert * self.present.all(0).unsqueeze(-1)
        return pooled

    def _pooled(self, rule: Rule) -> Tensor:
        """Combine the unimodal logits to [B, C]."""
        if rule.pool == "product":
            return _sum(self._scaled(rule).log_probabilities * self.present.unsqueeze(-1))
        z = self._scaled(rule).logits
        # Clamped, a logit of -inf makes no NaN of a weight of 0, nor of the gradient of any.
        return _sum(self.weights(rule).unsqueeze(-1) * z.clamp_min(torch.finfo(z.dtype).min))

    def weights(self, rule: Rule) -> Tensor:
        """Return how much each modality counts by a rule [M, B]; a joint head's share is not in it."""
        scaled, present = self._scaled(rule), self.present
        z = scaled.logits
        if rule.pool == "product":
            information = math.log(z.shape[-1]) - scaled.entropy
            return _normalise(torch.where(present, information.clamp_min(0), 0), present)
        if rule.pool == "entropy":
            return (-scaled.entropy.masked_fill(~present, torch.inf)).softmax(0)
        if rule.pool == "mean":
            return present.to(z) / present.sum(0)
        fixed = z.new_ones(len(z)) if self._fixed is None else self._fixed.to(z)
        return _normalise(present * fixed.view(-1, 1), present)

    @property
    def log_probabilities(self) -> Tensor:
        """The calibrated log-probabilities of each modality [M, B, C]."""
        return self._calibrated.log_probabilities

    def _scaled(self, rule: Rule) -> _Scaled:
        return self._calibrated if rule.calibrated else self._raw

    @cached_property
    def _raw(self) -> _Scaled:
        logits, classes = self._logits, self._logits.shape[-1]
        wide = _wide(logits)
        if classes < FEW_CLASSES:
            logits = logits.transpose(1, 2).to(wide, memory_format=torch.contiguous_format).transpose(1, 2)
        return _Scaled(torch.where(self.present.unsqueeze(-1), logits.to(wide), 0))

    @cached_property
    def _calibrated(self) -> _Scaled:
        z = self._raw.logits
        if self._temperatures is None:
            return self._raw
        return _Scaled(z / self._temperatures.to(z).view(-1, 1, 1))

    @property
    def _joint_logits(self) -> Tensor:
        if self._joint is None:
            raise ValueError("this fusion rule needs the logits of a joint head")
        return self._joint.to(_wide(self._joint))


class _Scaled:
    """Logits [M, B, C], zeros where absent, raw or calibrated, and what is computed from them once."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @cached_property
    def log_probabilities(self) -> Tensor:
        return log_softmax(self.logits)

    @cached_property
    def entropy(self) -> Tensor:
        """Of each modality's probabilities [M, B], in nats."""
        known = self.log_probabilities
        # 0 log 0 = 0, and its gradient is 0: clamped, a log-probability of -inf makes neither NaN.
        return -(known.exp() * known.clamp_min(torch.finfo(known.dtype).min)).sum(-1)


def _sum(parts: Tensor) -> Tensor:
    """Return the sum over modalities; ``Tensor.sum`` takes ten times as long where classes lie apart."""
    return reduce(torch.add, parts.unbind())


def _wide(logits: Tensor) -> torch.dtype:
    """Return float64, or float32 where the device has no float64 (Apple's MPS)."""
    return torch.float32 if logits.device.type == "mps" else torch.float64


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


def _normalise(weights: Tensor, present: Tensor) -> Tensor:
    """Scale [M, B] weights to sum to 1 per sample; equal weights where all of them are 0."""
    total = weights.sum(0)
    return torch.where(total > 0, weights / total.where(total > 0, 1), present.to(weights) / present.sum(0))


def _check(
    logits: Tensor,
    present: Tensor | None,
    temperatures: Tensor | None,
    fixed_weights: Tensor | None,
    joint: Tensor | None,
) -> Tensor:
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
    if joint is not None and joint.shape != logits.shape[1:]:
        raise ValueError(f"joint must be {list(logits.shape[1:])}, got {list(joint.shape)}")
    for name, values in (("temperatures", temperatures), ("fixed_weights", fixed_weights)):
        if values is not None and values.shape != logits.shape[:1]:
            raise ValueError(f"{name} must be [{len(logits)}], got {list(values.shape)}")
    if not torch.compiler.is_compiling():  # a graph knows shapes, but not values
        _check_values(present, temperatures, fixed_weights)
    return present


def _check_values(present: Tensor, temperatures: Tensor | None, fixed_weights: Tensor | None) -> None:
    absent = (~present.any(0)).nonzero().flatten()
    if len(absent):
        rows = ", ".join(map(str, absent[:10].tolist()))
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        raise ValueError(f"no modality is present in rows {rows}{more}")
    if temperatures is not None and not (temperatures > 0).all():
        raise ValueError(f"temperatures must be positive, got {temperatures.tolist()}")
    if fixed_weights is not None and not (fixed_weights >= 0).all():
        raise ValueError(f"fixed_weights must not be negative, got {fixed_weights.tolist()}")
