"""Metrics of predictions, fused and per modality, batch by batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Outputs
from altuna.core.softmax import log_softmax, max_and_argmax

BINS = 15  # of the calibration error
BLOCK = 4096  # rows fused at once: what is made of them stays in the processor's cache


class ClassificationMetrics:
    """Compute accuracy, macro-F1, negative log-likelihood and ECE of K kinds of predictions in batches.

    Memory does not grow with the rows: counts by class and by bin of confidence are kept, in float64.

    Args:
        classes: Number of classes C.
        kinds: K, for example the modalities.

    Example:
        >>> metrics = ClassificationMetrics(classes=2)
        >>> metrics.update(torch.tensor([[[0.9, 0.1], [0.6, 0.4]]]).log(), torch.tensor([0, 1]))
        >>> metrics.compute()[0]["accuracy"]
        0.5
    """

    def __init__(self, classes: int, kinds: int = 1) -> None:
        self.nll_sum = torch.zeros(kinds, dtype=torch.float64)
        self.labelled = torch.zeros(kinds, classes, dtype=torch.float64)
        self.wrong_right = torch.zeros(kinds, classes, 2, dtype=torch.float64)  # by the class predicted
        # Rows right minus confidence, by bin: its size is the bin's share of the ECE.
        self.excess = torch.zeros(kinds, BINS, dtype=torch.float64)

    @property
    def n(self) -> list[int]:
        """How many rows each kind has had so far."""
        return [int(n) for n in self.labelled.sum(1).tolist()]

    def update(self, log_probabilities: Tensor, labels: Tensor, present: Tensor | None = None) -> None:
        """Add predictions of rows.

        Args:
            log_probabilities: [K, n, C].
            labels: [n] class numbers.
            present: [K, n] bool, which rows count for each kind; all when None.
        """
        labels = labels.expand(log_probabilities.shape[:2])
        most, best = max_and_argmax(log_probabilities)
        right = best == labels
        counts = torch.ones_like(most) if present is None else present.to(most)

        def add(sums: Tensor, places: Tensor, values: Tensor) -> None:
            """Add values [K, n] to a kind's sums at places [K, n]."""
            first = torch.arange(0, sums.numel(), sums[0].numel()).unsqueeze(1)
            sums += (first + places).flatten().bincount(values.flatten(), sums.numel()).view_as(sums)

        add(self.labelled, labels, counts)
        add(self.wrong_right, 2 * best + right, counts)
        own = log_probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        self.nll_sum -= (own.clamp_min(math.log(1e-12)) * counts).sum(1)
        confidence = most.exp()
        # A confidence of exactly 1 is in the last bin; one that is no number makes the ECE none, in any.
        bins = (confidence * BINS).nan_to_num().long().clamp_max(BINS - 1)
        add(self.excess, bins, (right.to(confidence) - confidence) * counts)

    def compute(self) -> list[dict[str, Any]]:
        """Return the metrics of each kind over all its rows so far; they are None if it has no rows.

        Macro-F1 is over the classes that occur.
        """
        found: list[dict[str, Any]] = []
        for k, n in enumerate(self.n):
            right = self.wrong_right[k, :, 1]
            occurring = self.wrong_right[k].sum(1) + self.labelled[k]
            metrics = {
                "accuracy": right.sum() / n,
                "macro_f1": (2 * right / occurring)[occurring > 0].mean(),
                "nll": self.nll_sum[k] / n,
                "ece": self.excess[k].abs().sum() / n,
            }
            found.append({name: value.item() if n else None for name, value in metrics.items()})
        return found


def classification_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, macro-F1 (over the classes that occur), negative log-likelihood and ECE (15 bins).

    Args:
        probabilities: [N, C].
        labels: [N] class numbers.

    Example:
        >>> found = classification_metrics(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 1]))
        >>> found["accuracy"], round(found["nll"], 3), round(found["ece"], 3)
        (1.0, 0.308, 0.25)
    """
    metrics = ClassificationMetrics(probabilities.shape[1])
    metrics.update(probabilities.cpu().double().log().unsqueeze(0), labels.cpu())
    return metrics.compute()[0]


class Evaluation:
    """Compute the metrics of ``metrics.json`` from a model's outputs in batches.

    The metrics of a modality are computed over the ``n`` rows that have it, with its temperature.
    ``fusion.rules`` has the fused metrics of every rule on the same outputs, ``fused`` those of ``fusion``
    (None: the model's own rule). Each rule has its own temperature after fusion.

    Args:
        model: The classifier.
        fusion: The rule whose metrics are ``fused``.
        one_rule: Compute no metrics of other rules, which takes half the time or less.

    Raises:
        ValueError: The model has no such fusion.

    Example:
        >>> from torch import nn
        >>> model = MultimodalClassifier({"audio": nn.Linear(2, 4), "image": nn.Linear(2, 4)}, num_classes=2)
        >>> logits, present = torch.tensor([[[3.0, 0.0]], [[1.0, 0.0]]]), torch.ones(2, 1, dtype=torch.bool)
        >>> evaluation = Evaluation(model, one_rule=True)
        >>> evaluation.update(Outputs(logits, present, joint=None), torch.tensor([0]))
        >>> found = evaluation.compute()
        >>> found["n"], found["fused"]["accuracy"], found["fusion"]["rule"]
        (1, 1.0, 'evidence')
    """

    def __init__(
        self, model: MultimodalClassifier, fusion: str | None = None, *, one_rule: bool = False
    ) -> None:
        self.model, self.chosen = model, model.check_fusion(fusion or model.fusion)
        rules = [self.chosen] if one_rule else model.fusions
        self.fused = {rule: ClassificationMetrics(model.num_classes) for rule in rules}
        self.alone = ClassificationMetrics(model.num_classes, len(model.modalities))

    @torch.no_grad()
    def update(self, outputs: Outputs, labels: Tensor) -> None:
        """Add the outputs of labelled samples [n]."""
        for block, mine in zip(outputs.cpu().split(BLOCK), torch.split(labels.cpu(), BLOCK), strict=True):
            opinions = self.model.opinions(block)
            self.alone.update(opinions.log_probabilities, mine, block.present)
            for rule, metrics in self.fused.items():
                logits = self.model.fused_logits(opinions, rule)
                metrics.update(log_softmax(logits).unsqueeze(0), mine)

    def compute(self) -> dict[str, Any]:
        """Return ``n``, ``fused``, ``modalities`` and ``fusion`` over all samples so far."""
        fused = {rule: metrics.compute()[0] for rule, metrics in self.fused.items()}
        names, alone = self.model.modalities, zip(self.alone.compute(), self.alone.n, strict=True)
        return {
            "n": self.fused[self.chosen].n[0],
            "fused": fused[self.chosen],
            "modalities": {
                name: {**metrics, "n": n} for name, (metrics, n) in zip(names, alone, strict=True)
            },
            "fusion": {
                "rule": self.chosen,
                "temperatures": dict(zip(names, self.model.temperatures.tolist(), strict=True)),
                "weights": dict(zip(names, self.model.evidence_weights.tolist(), strict=True)),
                "biases": dict(zip(names, self.model.class_biases.tolist(), strict=False)),
                "joint_weight": self.model.joint_weight.item() if self.model.expert else None,
                "rules": fused,
            },
        }


def evaluate(
    model: MultimodalClassifier, outputs: Outputs, labels: Tensor, fusion: str | None = None
) -> dict[str, Any]:
    """Return the metrics of a model's outputs for labelled samples; see ``Evaluation``.

    Example:
        >>> from torch import nn
        >>> model = MultimodalClassifier({"audio": nn.Linear(2, 4)}, num_classes=2)
        >>> outputs = Outputs(torch.tensor([[[3.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool), joint=None)
        >>> evaluate(model, outputs, torch.tensor([0]))["fused"]["accuracy"]
        1.0
    """
    evaluation = Evaluation(model, fusion)
    evaluation.update(outputs, labels)
    return evaluation.compute()
