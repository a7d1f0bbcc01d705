"""How good predictions are, fused and per modality, batch by batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from altuna.model import MultimodalClassifier, Outputs

BINS = 15  # of the calibration error
BLOCK = 4096  # rows fused at once: what is made of them stays in the processor's cache


class ClassificationMetrics:
    """Accuracy, macro-F1, negative log-likelihood and ECE of predictions that come in batches.

    What is kept does not grow with the rows: counts by class and by bin of confidence, in float64.

    Args:
        classes: Number of classes C.
    """

    def __init__(self, classes: int) -> None:
        self.n, self.surprise = 0, 0.0
        self.labelled = torch.zeros(classes, dtype=torch.int64)
        self.wrong_right = torch.zeros(classes, 2, dtype=torch.int64)  # by the class predicted
        # Rows right minus confidence, by bin: its size is the bin's share of the ECE.
        self.excess = torch.zeros(BINS, dtype=torch.float64)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add predictions, as logits or log-probabilities [n, C], of rows with class numbers [n]."""
        logits, labels = logits.cpu(), labels.cpu()
        highest, best = logits.max(1)
        shifted = (logits - highest.unsqueeze(1)).float()
        total = shifted.exp().sum(1).double()
        right = best == labels
        self.n += len(labels)
        self.wrong_right += torch.bincount(2 * best + right, minlength=self.wrong_right.numel()).view(-1, 2)
        self.labelled += labels.bincount(minlength=len(self.labelled))
        own = shifted.gather(1, labels.unsqueeze(1)).squeeze(1) - total.log()
        self.surprise -= own.clamp_min(math.log(1e-12)).sum().item()
        confidence = total.reciprocal()
        # A confidence of exactly 1 is in the last bin; one that is no number makes the ECE none, in any.
        bins = (confidence * BINS).nan_to_num().long().clamp_max(BINS - 1)
        self.excess += bins.bincount(right.double() - confidence, BINS)

    def compute(self) -> dict[str, float]:
        """Return the figures over all rows so far; macro-F1 is over the classes that occur."""
        right = self.wrong_right[:, 1]
        occurring = self.wrong_right.sum(1) + self.labelled
        f1 = 2 * right / occurring
        return {
            "accuracy": right.sum().item() / self.n,
            "macro_f1": f1[occurring > 0].mean().item(),
            "nll": self.surprise / self.n,
            "ece": self.excess.abs().sum().item() / self.n,
        }


def classification_metrics(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracy, macro-F1 (over the classes that occur), negative log-likelihood and ECE (15 bins).

    Args:
        probabilities: [N, C].
        labels: [N] class numbers.
    """
    metrics = ClassificationMetrics(probabilities.shape[1])
    metrics.update(probabilities.cpu().double().log(), labels)
    return metrics.compute()


class Evaluation:
    """The figures of ``metrics.json``, of a model's outputs that come in batches.

    A modality's figures are over the ``n`` rows that have it, with its temperature. ``fusion.rules`` has
    the fused figures of every rule on the same outputs, ``fused`` those of ``fusion`` (the model's own when
    None). The last temperature, for the confidence, belongs to the model's own rule and applies to no other.

    Args:
        model: The classifier.
        fusion: Whose figures are ``fused``.
        one_rule: Leave the other rules out, which takes half the time.

    Raises:
        ValueError: The model has no such fusion.
    """

    def __init__(
        self, model: MultimodalClassifier, fusion: str | None = None, *, one_rule: bool = False
    ) -> None:
        self.model, self.chosen = model, model.check_fusion(fusion or model.fusion)
        rules = [self.chosen] if one_rule else model.fusions
        self.fused = {rule: ClassificationMetrics(model.num_classes) for rule in rules}
        self.modalities = {name: ClassificationMetrics(model.num_classes) for name in model.modalities}
        self.temperatures = model.temperatures.cpu()

    @torch.no_grad()
    def update(self, outputs: Outputs, labels: Tensor) -> None:
        """Add the outputs of labelled samples [n]."""
        for block, mine in zip(outputs.split(BLOCK), torch.split(labels, BLOCK), strict=True):
            for rule, logits, _ in self.model.fused_by(block, self.fused):
                self.fused[rule].update(logits, mine)
            for i, metrics in enumerate(self.modalities.values()):
                has = block.present[i]
                metrics.update(block.logits[i, has] / self.temperatures[i], mine[has])

    def compute(self) -> dict[str, Any]:
        """Return ``n``, ``fused``, ``modalities`` and ``fusion`` over all samples so far."""
        fused = {rule: metrics.compute() for rule, metrics in self.fused.items()}
        nothing = dict.fromkeys(fused[self.chosen])
        return {
            "n": self.fused[self.chosen].n,
            "fused": fused[self.chosen],
            "modalities": {
                name: {**(metrics.compute() if metrics.n else nothing), "n": metrics.n}
                for name, metrics in self.modalities.items()
            },
            "fusion": {
                "rule": self.chosen,
                "temperatures": dict(zip(self.modalities, self.temperatures.tolist(), strict=True)),
                "rules": fused,
            },
        }


def evaluate(
    model: MultimodalClassifier, outputs: Outputs, labels: Tensor, fusion: str | None = None
) -> dict[str, Any]:
    """Return the figures of all outputs at once; see ``Evaluation``."""
    evaluation = Evaluation(model, fusion)
    evaluation.update(outputs, labels)
    return evaluation.compute()
