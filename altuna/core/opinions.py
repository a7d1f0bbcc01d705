"""The opinions of a sample's modalities, and a joint head's: calibrated, and pooled by any rule."""

from __future__ import annotations

import math
from functools import cached_property, reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from altuna.core.softmax import FEW_CLASSES, log_softmax

MIN_LOG = -1e3  # of a probability, where evidence is computed: that of 0 has none


class Rule(NamedTuple):
    """A fusion rule.

    Args:
        pool: How unimodal logits are combined, see ``fuse``.
        calibrated: Whether unimodal logits are calibrated first.
        joint: How joint logits are used: ``unused``, ``alone`` (they are the prediction, and ``pool`` only
            gives the reported weights), ``expert`` (one more expert, for samples that have all modalities),
            or ``optional`` (``expert`` if the model has one).

    Example:
        >>> Rule("product", calibrated=True).joint
        'unused'
    """

    pool: Literal["evidence", "entropy", "product", "mean", "fixed"]
    calibrated: bool = False
    joint: Literal["unused", "alone", "expert", "optional"] = "unused"


class Calibration(NamedTuple):
    """What is fitted to make opinions calibrated, see ``altuna.core.calibration``; None stands for no effect.

    Attributes:
        temperatures: [M] positive, one for each modality.
        biases: [E, C], the class bias of each modality and, if the model has one, of a joint expert.
        prior: [C] positive, the class frequencies of the training rows; uniform when None.
        weights: [M] non-negative, how much of each modality's evidence counts (all of it when None).
        joint_temperature: [] positive, the temperature of a joint expert.
        joint_weight: [] non-negative, how much of a joint expert's evidence counts.

    Example:
        >>> Calibration(temperatures=torch.tensor([1.0, 2.0])).prior is None
        True
    """

    temperatures: Tensor | None = None
    prior: Tensor | None = None
    weights: Tensor | None = None
    joint_temperature: Tensor | None = None
    joint_weight: Tensor | None = None
    biases: Tensor | None = None


class Fusion(NamedTuple):
    """A fused prediction of B samples.

    Attributes:
        logits: Fused logits [B, C].
        probabilities: Their softmax [B, C].
        weights: Fusion weights of the modalities [M, B]; those of a sample sum to 1.

    Example:
        >>> fusion = Opinions(torch.tensor([[[2.0, 0.0]], [[0.0, 0.0]]])).fuse(Rule("mean"))
        >>> fusion.logits.tolist(), fusion.weights.tolist()
        ([[1.0, 0.0]], [[0.5], [0.5]])
    """

    logits: Tensor
    probabilities: Tensor
    weights: Tensor


class Opinions:
    """What the modalities of B samples, and a joint head, say; to be fused by any number of rules.

    What several rules share, such as entropies, is computed once. Results are in float64 where the device
    has it.

    Args:
        logits: [M, B, C], see ``fuse``.
        present: [M, B] bool; all when None.
        calibration: What was fitted on validation data; nothing when None.
        fixed_weights: [M], for the rule ``fixed`` (1 when None).
        joint: Joint logits [B, C], for ``joint``.
        expert: Logits of a joint expert [B, C], for ``experts`` and ``evidence``.

    Raises:
        ValueError: See ``fuse``.

    Example:
        >>> import torch
        >>> opinions = Opinions(torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]]))
        >>> {pool: opinions.fuse(Rule(pool)).logits.tolist() for pool in ("mean", "fixed")}
        {'mean': [[1.0, 0.5]], 'fixed': [[1.0, 0.5]]}
    """

    def __init__(
        self,
        logits: Tensor,
        present: Tensor | None = None,
        calibration: Calibration | None = None,
        fixed_weights: Tensor | None = None,
        joint: Tensor | None = None,
        expert: Tensor | None = None,
    ) -> None:
        self._calibration = calibration or Calibration()
        self.present = _check(logits, present, self._calibration, fixed_weights, (joint, expert))
        self.dtype = torch.promote_types(logits.dtype, torch.float32)
        self._logits, self._fixed, self._joint, self._expert = logits, fixed_weights, joint, expert

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
            return self._needed(self._joint)
        pooled = self._pooled(rule)
        complete = self.present.all(0).unsqueeze(-1)
        if rule.joint == "expert":
            pooled = pooled + self._expert_log_probabilities * complete
        elif rule.joint == "optional" and self._expert is not None:
            weight = self._calibration.joint_weight
            beyond = (self._expert_log_probabilities - self.log_prior) * complete
            pooled = pooled + (beyond if weight is None else beyond * weight.to(beyond))
        return pooled

    def _pooled(self, rule: Rule) -> Tensor:
        """Combine the unimodal logits to [B, C]."""
        scaled, present = self._scaled(rule), self.present.unsqueeze(-1)
        if rule.pool == "product":
            return _sum(scaled.log_probabilities * present)
        if rule.pool == "evidence":
            counted = present * self._evidence_weights.view(-1, 1, 1)
            return _sum(_clamped(scaled.log_probabilities) * counted) + self.log_prior * (1 - _sum(counted))
        return _sum(self.weights(rule).unsqueeze(-1) * _clamped(scaled.logits))

    def weights(self, rule: Rule) -> Tensor:
        """Return how much each modality counts by a rule [M, B]; a joint head's share is not in it."""
        scaled, present = self._scaled(rule), self.present
        z = scaled.logits
        if rule.pool == "product":
            information = math.log(z.shape[-1]) - scaled.entropy
            return _normalise(torch.where(present, information.clamp_min(0), 0), present)
        if rule.pool == "evidence":
            beyond = scaled.divergence(self.log_prior).clamp_min(0) * self._evidence_weights.unsqueeze(-1)
            return _normalise(torch.where(present, beyond, 0), present)
        if rule.pool == "entropy":
            return (-scaled.entropy.masked_fill(~present, torch.inf)).softmax(0)
        if rule.pool == "mean":
            return present.to(z) / present.sum(0)
        fixed = z.new_ones(len(z)) if self._fixed is None else self._fixed.to(z)
        return _normalise(present * fixed.view(-1, 1), present)

    def evidence(self) -> Tensor:
        """Return what each expert says beyond the prior [E, B, C], a joint expert last; 0 where absent."""
        known, present = self.log_probabilities, self.present
        if self._expert is not None:
            known = torch.cat([known, self._expert_log_probabilities.unsqueeze(0)])
            present = torch.cat([present, present.all(0, keepdim=True)])
        return (known.clamp_min(MIN_LOG) - self.log_prior) * present.unsqueeze(-1)

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
        temperatures, biases = self._calibration.temperatures, self._calibration.biases
        if temperatures is None:
            return self._raw
        own = None if biases is None else biases[: len(self._logits)].unsqueeze(1)
        return _Scaled(self._scale(self._raw.logits, temperatures.view(-1, 1, 1), own))

    def _scale(self, z: Tensor, temperature: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return calibrated logits: the higher the temperature, the closer they are to the prior."""
        if temperature is None:
            return z
        share = 1 / temperature.to(z)
        start = 0 if self._calibration.prior is None else self.log_prior * (1 - share)
        return z * share + (start if bias is None else start + bias.to(z))

    @cached_property
    def log_prior(self) -> Tensor:
        """The logarithm of the prior [C]."""
        classes, prior = self._logits.shape[-1], self._calibration.prior
        wide = self._raw.logits
        return (
            wide.new_full((classes,), -math.log(classes))
            if prior is None
            else log_softmax(prior.to(wide).log())
        )

    @cached_property
    def _evidence_weights(self) -> Tensor:
        weights, wide = self._calibration.weights, self._raw.logits
        return wide.new_ones(len(wide)) if weights is None else weights.to(wide)

    @cached_property
    def _expert_log_probabilities(self) -> Tensor:
        """The calibrated log-probabilities of a joint expert [B, C]."""
        temperature, biases = self._calibration.joint_temperature, self._calibration.biases
        bias = None if biases is None else biases[len(self._logits)]
        return _clamped(log_softmax(self._scale(self._needed(self._expert), temperature, bias)))

    def _needed(self, joint: Tensor | None) -> Tensor:
        if joint is None:
            raise ValueError("this fusion rule needs the logits of a joint head")
        return joint.to(_wide(joint))


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
        return -(known.exp() * _clamped(known)).sum(-1)

    def divergence(self, log_prior: Tensor) -> Tensor:
        """Return the divergence of each modality's probabilities from the prior [M, B], in nats."""
        return -self.entropy - (self.log_probabilities.exp() * log_prior).sum(-1)


def _clamped(values: Tensor) -> Tensor:
    """Return finite values: -inf would make NaN of a weight of 0, and of the gradient of any."""
    return values.clamp_min(torch.finfo(values.dtype).min)


def _sum(parts: Tensor) -> Tensor:
    """Return the sum over modalities; ``Tensor.sum`` takes ten times as long where classes lie apart."""
    return reduce(torch.add, parts.unbind())


def _wide(logits: Tensor) -> torch.dtype:
    """Return float64, or float32 where the device has no float64 (Apple's MPS)."""
    return torch.float32 if logits.device.type == "mps" else torch.float64


def _normalise(weights: Tensor, present: Tensor) -> Tensor:
    """Scale [M, B] weights to sum to 1 per sample; equal weights where all of them are 0."""
    total = weights.sum(0)
    return torch.where(total > 0, weights / total.where(total > 0, 1), present.to(weights) / present.sum(0))


def _check(
    logits: Tensor,
    present: Tensor | None,
    calibration: Calibration,
    fixed_weights: Tensor | None,
    joint: tuple[Tensor | None, Tensor | None],
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
    for some in joint:
        if some is not None and some.shape != logits.shape[1:]:
            raise ValueError(f"joint must be {list(logits.shape[1:])}, got {list(some.shape)}")
    modalities, _, classes = logits.shape
    given = (  # name, values, their number, whether 0 is refused
        ("temperatures", calibration.temperatures, modalities, True),
        ("fixed_weights", fixed_weights, modalities, False),
        ("evidence_weights", calibration.weights, modalities, False),
        ("prior", calibration.prior, classes, True),
        ("joint_temperature", calibration.joint_temperature, None, True),
        ("joint_weight", calibration.joint_weight, None, False),
    )
    allowed = [(modalities + 1, classes), *([(modalities, classes)] if joint[1] is None else [])]
    if (biases := calibration.biases) is not None and biases.shape not in allowed:
        raise ValueError(f"biases must be {[*allowed[-1]]}, got {list(biases.shape)}")
    for name, values, number, _ in given:
        shape = () if number is None else (number,)
        if values is not None and values.shape != shape:
            raise ValueError(f"{name} must be {[*shape]}, got {list(values.shape)}")
    if not torch.compiler.is_compiling():  # a graph knows shapes, but not values
        _check_present(present)
        for name, values, _, positive in given:
            if values is not None and not ((values > 0) if positive else (values >= 0)).all():
                bound = "be positive" if positive else "not be negative"
                raise ValueError(f"{name} must {bound}, got {values.tolist()}")
    return present


def _check_present(present: Tensor) -> None:
    absent = (~present.any(0)).nonzero().flatten()
    if len(absent):
        rows = ", ".join(map(str, absent[:10].tolist()))
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        raise ValueError(f"no modality is present in rows {rows}{more}")
