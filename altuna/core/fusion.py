r"""Test-time fusion: one prediction per sample from the logits of the modalities it has.

With :math:`z_m` the logits of modality m, :math:`p_m` their softmax, :math:`e_m` its entropy,
:math:`\pi` the class prior, and sums over the modalities that the sample has:

- ``evidence``: :math:`\log\pi + \sum_m a_m (\log p_m - \log\pi)`. Each modality adds what it says beyond
  the prior: one that only knows the prior changes nothing. With :math:`a_m = 1` this is naive Bayes; a
  smaller :math:`a_m` discounts modalities that say the same. The weight shown is
  :math:`w_m \propto a_m KL(p_m \| \pi)`. A joint expert adds its evidence, with a weight and temperature
  of its own, for the samples that have all modalities;
- ``entropy``: :math:`\sum_m w_m z_m` with :math:`w_m \propto \exp(\max_v e_v - e_m)`
  (MLA, arXiv 2311.10707, eq. 8-9);
- ``product``: :math:`\sum_m \log p_m`, the product of experts, which counts the prior once for each
  modality. The weight shown is the information in the prediction of m, :math:`w_m \propto \log C - e_m`;
- ``mean``: :math:`\sum_m z_m / M_{present}`;
- ``fixed``: :math:`\sum_m w_m z_m` with ``fixed_weights``, renormalised over the present modalities;
- ``calibrated_entropy``, ``calibrated_product``, ``calibrated_mean``, ``calibrated_fixed``: the same, and
  ``temperatures``, fitted on validation data, must be given, as for ``evidence``;
- ``joint``: the logits of a joint head, with the weights of ``calibrated_product``;
- ``experts``: ``calibrated_product`` with the calibrated joint head as one more factor, for the samples
  that have all modalities.

A temperature scales what a modality says beyond the prior: calibrated logits are
:math:`\log\pi + (z_m - \log\pi) / T_m`. The higher :math:`T_m`, the closer :math:`p_m` is to the prior;
with a uniform prior this is :math:`z_m / T_m`. A class bias :math:`b_m` may be added.

The formulas are computed by ``Opinions``; the weights of evidence are fitted in ``altuna.core.evidence``.
"""

from __future__ import annotations

from torch import Tensor

from altuna.core.opinions import Calibration, Fusion, Opinions, Rule

RULES: dict[str, Rule] = {
    "evidence": Rule("evidence", calibrated=True, joint="optional"),
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


def fuse(
    logits: Tensor,
    present: Tensor | None = None,
    rule: str = "entropy",
    temperatures: Tensor | None = None,
    fixed_weights: Tensor | None = None,
    joint: Tensor | None = None,
    joint_temperature: Tensor | None = None,
    *,
    prior: Tensor | None = None,
    evidence_weights: Tensor | None = None,
    joint_weight: Tensor | None = None,
    biases: Tensor | None = None,
) -> Fusion:
    r"""Combine the unimodal logits of each sample; samples do not depend on each other.

    The rules are those of this module. Entropies are computed in float64 where the device has it, the result
    has the dtype of ``logits`` (at least float32).

    Args:
        logits: [M, B, C]: M modalities, B samples, C classes. Entries of missing modalities are ignored.
        present: [M, B] bool: whether a sample has a modality. None: all samples have all modalities.
        rule: One of ``RULES``.
        temperatures: [M] positive; if given, every rule fuses calibrated logits.
        fixed_weights: [M] non-negative weights of the rule ``fixed`` (equal when None).
        joint: [B, C] logits of a joint head, for ``joint``, ``experts`` and ``evidence``.
        joint_temperature: [] positive, for ``experts`` and ``evidence`` (1 when None).
        prior: [C] positive class frequencies of the training rows (uniform when None).
        evidence_weights: [M] non-negative weights :math:`a_m` of the rule ``evidence`` (1 when None).
        joint_weight: [] non-negative, the weight of the joint expert's evidence (1 when None).
        biases: [E, C], what is added to the calibrated logits of each modality, then of ``joint`` (0 when
            None).

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
        >>> prior = torch.tensor([0.8, 0.2])
        >>> ignorant = prior.log().expand(2, 1, 2)  # two modalities that only know the prior
        >>> fuse(ignorant, rule="evidence", temperatures=torch.ones(2), prior=prior).probabilities
        tensor([[0.8000, 0.2000]])
    """
    if rule not in RULES:
        raise ValueError(f"unknown fusion rule {rule!r}; the rules are {', '.join(RULES)}")
    chosen = RULES[rule]
    if chosen.calibrated and temperatures is None:
        raise ValueError(f"the fusion rule {rule!r} needs temperatures")
    fitted = Calibration(temperatures, prior, evidence_weights, joint_temperature, joint_weight, biases)
    opinions = Opinions(logits, present, fitted, fixed_weights, joint, expert=joint)
    return opinions.fuse(chosen._replace(calibrated=temperatures is not None))
