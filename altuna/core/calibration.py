"""Calibration on validation data, by temperatures (Guo et al., 2017, arXiv 1706.04599) and weights."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from altuna.core.ensemble import HeldOut
from altuna.core.evidence import choose_weights, fit_weights
from altuna.core.fusion import RULES
from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Outputs, concatenate
from altuna.core.subsets import sample_subsets
from altuna.core.temperature import fit_temperature, fit_temperature_and_bias

MIN_ROWS = 20  # a modality with fewer validation rows has no temperature of its own
MAX_ROWS = 5_000  # rows of all subsets together on which a temperature after fusion is fitted
EPOCH_ROWS, EPOCH_STRENGTH = 5_000, 100.0  # of the weights of evidence within a training


@torch.no_grad()
def fit_temperatures(model: MultimodalClassifier, outputs: Outputs, labels: Tensor) -> None:
    """Fit the temperature of each modality, and of a joint expert, on validation outputs.

    A modality's temperature is fitted on the rows that have it, a joint expert's on those that have all.
    Modalities that fewer than ``MIN_ROWS`` rows have share one, fitted on the logits of all modalities.

    Every fit has a pseudo-count of 1: N validation samples without a mistake do not show that the probability
    of one is far below 1 / N, and without it they would ask for unlimited confidence.

    Args:
        model: Its buffers are set.
        outputs: Its outputs of N validation samples.
        labels: Class numbers [N].

    Example:
        >>> model = MultimodalClassifier({"audio": torch.nn.Linear(3, 4)}, num_classes=2)
        >>> logits = torch.tensor([[5.0, 0.0]]).repeat(4, 1).unsqueeze(0)
        >>> outputs = Outputs(logits, torch.ones(1, 4, dtype=torch.bool), joint=None)
        >>> fit_temperatures(model, outputs, torch.tensor([0, 0, 0, 1]))
        >>> bool(model.temperatures[0] > 1)  # 99 % confident, and right in three of four samples
        True
    """

    def fit(logits: Tensor, labels: Tensor) -> float:
        return fit_temperature(logits, labels, pseudo_count=1, prior=model.prior)

    for i, mine in enumerate(outputs.present):
        model.temperatures[i] = fit(outputs.logits[i, mine], labels[mine])
    if few := modalities_with_few_rows(outputs.present):
        targets = labels.expand_as(outputs.present)[outputs.present]
        model.temperatures[few] = fit(outputs.logits[outputs.present], targets)
    if model.expert:
        assert outputs.joint is not None
        complete = outputs.present.all(0)
        model.joint_temperature.fill_(fit(outputs.joint[complete], labels[complete]))


@torch.no_grad()
def fit_confidence(model: MultimodalClassifier, outputs: Outputs, labels: Tensor) -> None:
    """Fit the temperatures after fusion of the model's own rule on the rows as they are.

    This is enough to compare epochs by their loss; ``calibrate`` uses subsets of the modalities, too. With a
    joint expert, weights of evidence are fitted first, or its loss would choose the epoch.

    Example:
        >>> model = MultimodalClassifier({"audio": torch.nn.Linear(3, 4)}, num_classes=2)
        >>> logits = torch.tensor([[5.0, 0.0]]).repeat(4, 1).unsqueeze(0)
        >>> outputs = Outputs(logits, torch.ones(1, 4, dtype=torch.bool), joint=None)
        >>> fit_confidence(model, outputs, torch.tensor([0, 0, 0, 1]))
        >>> bool(model.fuse(outputs).probabilities[0, 0] < 0.75)  # right in three of four samples
        True
    """
    if model.expert:
        rows = torch.arange(0, len(labels), max(1, -(-len(labels) // EPOCH_ROWS)))
        evidence = model.opinions(_at(outputs, rows, outputs.present)).evidence().cpu().double()
        log_prior = model.prior.log().cpu().double()
        _set_weights(
            model, fit_weights(evidence, labels[rows].cpu(), log_prior, EPOCH_STRENGTH, _targets(model))
        )
    own, count = model.fusions.index(model.fusion), outputs.present.sum(0)
    logits = model.opinions(outputs).logits(RULES[model.fusion])
    for k in sorted({*count.tolist()}):
        rows, prior = count == k, _prior(model, model.fusion)
        model.confidence_temperatures[own, k - 1] = fit_temperature(logits[rows], labels[rows], 1, prior)


@torch.no_grad()
def calibrate(
    model: MultimodalClassifier,
    outputs: Outputs,
    labels: Tensor,
    held_out: HeldOut | None = None,
    groups: Tensor | None = None,
) -> None:
    """Fit all that a model's fusion needs on validation outputs: temperatures, biases, weights of evidence.

    First the temperatures and class biases of modalities, then the weights of the rule ``evidence``, then for
    each rule a temperature for predictions from k modalities, fitted on the fused logits of subsets of k
    modalities; for the joint logits, on the rows with exactly k or, where there are none, on the joint logits
    of subsets of the samples.

    Args:
        model: Its buffers are set.
        outputs: Its outputs of N validation samples.
        labels: Class numbers [N].
        held_out: The same samples, needed by joint fusion alone; without them it is calibrated only for the
            numbers of modalities that rows have.
        groups: The number of each sample's group [N], see ``choose_weights``.

    Example:
        >>> import torch
        >>> from altuna.core.model import MultimodalClassifier
        >>> model = MultimodalClassifier({name: torch.nn.Linear(2, 4) for name in "ab"}, num_classes=2)
        >>> logits = torch.tensor([[8.0, 0.0]] * 30).expand(2, -1, -1)
        >>> present = torch.ones(2, 30, dtype=torch.bool)
        >>> calibrate(model, Outputs(logits, present, joint=None), torch.tensor([0, 0, 1] * 10))
        >>> bool((model.temperatures > 1).all())  # the logits were too sure
        True
    """
    fit_temperatures(model, outputs, labels)
    _fit_biases(model, outputs, labels, groups)
    evidence = model.opinions(outputs).evidence()
    weights = choose_weights(evidence, labels, model.prior.log(), groups, _targets(model))
    weights[len(model.modalities) :] *= int(outputs.present.all(0).sum()) >= MIN_ROWS
    _set_weights(model, weights)
    for k in range(1, len(model.modalities) + 1):
        for alone in (False, True):
            rules = [i for i, name in enumerate(model.fusions) if (RULES[name].joint == "alone") == alone]
            views = [*_views(model, outputs, labels, held_out, k, alone)] if rules else []
            if views:
                some, targets = concatenate(views)
                opinions = model.opinions(some)
                for i in rules:
                    logits = opinions.logits(RULES[model.fusions[i]])
                    temperature = fit_temperature(logits, targets, 1, _prior(model, model.fusions[i]))
                    model.confidence_temperatures[i, k - 1] = temperature


def _fit_biases(model: MultimodalClassifier, outputs: Outputs, labels: Tensor, groups: Tensor | None) -> None:
    """Fit the class biases of experts that ``MIN_ROWS`` rows have, and their temperatures once more."""
    model.class_biases.zero_()
    experts = [*zip(outputs.logits, outputs.present, model.temperatures, strict=True)]
    if model.expert:
        assert outputs.joint is not None
        experts.append((outputs.joint, outputs.present.all(0), model.joint_temperature))
    for (logits, mine, temperature), bias in zip(experts, model.class_biases, strict=True):
        if int(mine.sum()) >= MIN_ROWS:
            of_rows = groups[mine] if groups is not None else None
            found = fit_temperature_and_bias(logits[mine], labels[mine], model.prior, of_rows)
            temperature.fill_(found[0])
            bias.copy_(found[1])


def _prior(model: MultimodalClassifier, rule: str) -> Tensor | None:
    """Return the prior towards which a temperature after fusion scales; None: equal probabilities."""
    return model.prior if RULES[rule].pool == "evidence" else None


def _targets(model: MultimodalClassifier) -> Tensor:
    """Return the weights [E] of evidence where validation does not tell: 1, and 0 of a joint expert.

    It is not independent of the modalities, whose inputs it sees: it has to show that it adds something.
    """
    joint = [0.0] if model.expert else []
    return torch.tensor([1.0] * len(model.modalities) + joint, dtype=torch.float64)


def _set_weights(model: MultimodalClassifier, weights: Tensor) -> None:
    model.evidence_weights.copy_(weights[: len(model.modalities)])
    if model.expert:
        model.joint_weight.copy_(weights[-1])


def modalities_with_few_rows(present: Tensor) -> list[int]:
    """Return the numbers of the modalities that fewer than ``MIN_ROWS`` rows have; none if there is only one.

    Args:
        present: Which rows have a modality [M, N] bool.

    Example:
        >>> import torch
        >>> modalities_with_few_rows(torch.tensor([[True] * 30, [True] * 5 + [False] * 25]))
        [1]
    """
    return [] if len(present) == 1 else [i for i, mine in enumerate(present) if int(mine.sum()) < MIN_ROWS]


def _views(
    model: MultimodalClassifier,
    outputs: Outputs,
    labels: Tensor,
    held_out: HeldOut | None,
    k: int,
    joint: bool,
) -> Iterator[tuple[Outputs, Tensor]]:
    """Yield outputs of samples with k modalities, and their labels; ``joint`` logits by the head itself."""
    if joint and (rows := outputs.present.sum(0) == k).any():
        rows = _some(rows, 1)
        yield _at(outputs, rows, outputs.present), labels[rows]
        return
    subsets = sample_subsets(len(outputs.present), k)
    for subset in subsets:
        rows = _some(outputs.present[list(subset)].all(0), len(subsets))
        if not len(rows):
            continue
        present = torch.zeros_like(outputs.present)
        for i in subset:
            present[i, rows] = True
        if not joint:
            yield _at(outputs, rows, present), labels[rows]
        elif held_out is not None:
            yield held_out.outputs(present)


def _some(which: Tensor, subsets: int) -> Tensor:
    """Return the rows of ``which`` [N] bool, or some, so that all subsets together have ``MAX_ROWS``."""
    rows = which.nonzero().flatten()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return rows[order[: -(-MAX_ROWS // subsets)].sort().values]


def _at(outputs: Outputs, rows: Tensor, present: Tensor) -> Outputs:
    """Return the outputs of some rows, with only the modalities ``present`` [M, N]."""
    joint = outputs.joint[rows] if outputs.joint is not None else None
    return Outputs(outputs.logits[:, rows], present[:, rows], joint)
