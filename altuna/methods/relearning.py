"""Diagnosing and re-learning: soft re-initialisation of encoders, stronger for more overfitting."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from altuna.core.batch import Batch, stable_uniform
from altuna.core.model import MultimodalClassifier
from altuna.methods.base import JointMethod, Turn
from altuna.methods.parts.clustering import clusters, purity, scaled
from altuna.methods.parts.memory import Collected


class Relearning(JointMethod):
    r"""Move the weights of each encoder back towards their initial values; overfitted encoders move further.

    The overfitting of encoder m decides how far its weights move. To measure overfitting, the method
    clusters the features of encoder m. The method then compares the purity of the clusters on training rows
    with the purity on held-out rows:

    .. math:: a_m = \tanh(\lambda |P_m^{train} - P_m^{held}|), \qquad
        \theta_m \leftarrow a_m \theta_m^0 + (1 - a_m) \theta_m

    - ``theta_m`` are the weights of encoder m, and ``theta_m^0`` are its initial weights.
    - ``a_m`` is the fraction of the way back to the initial weights.
    - ``P_m`` is the purity of k-means clusters: the fraction of rows whose class is the most frequent class
      in their cluster. The number of clusters is the number of classes, and the features are scaled to [-1,
      1] before the clustering.

    The head and the optimizer state are not changed.

    Source: Wei, Li, Feng, Hu, ECCV 2024, arXiv 2407.09705.

    Deviations:

    - altuna holds out a part of the training rows, chosen by a hash of the row number. The authors use the
      validation split as held-out rows. altuna does not hold out the validation split, because it selects the
      best epoch on this split.
    - altuna computes :math:`P^{train}` on as many rows as :math:`P^{held}`, because purity is higher if there
      are fewer rows. The authors compute :math:`P^{train}` on all training rows.
    - altuna sets the number of epochs between two re-initialisations as a fraction of all epochs. The authors
      re-initialise after epochs 20 and 40 of 50.
    - altuna computes the features of a batch after the training step on this batch, without dropout.
    - altuna uses the rows that have modality m. If there are no such rows, encoder m is not changed.

    Args:
        model: A classifier with a joint head.
        strength: Strength :math:`\lambda` of the re-initialisation.
        every: Fraction of all epochs between two re-initialisations. The last epoch has no re-initialisation.
        times: Maximum number of re-initialisations in a run.
        held: Fraction of the training rows that is held out.
    """

    weights: Tensor

    def __init__(
        self,
        model: MultimodalClassifier,
        *,
        strength: float = 3.0,
        every: float = 0.4,
        times: int = 3,
        held: float = 0.1,
    ) -> None:
        super().__init__(model)
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        if not 0 < every <= 1:
            raise ValueError(f"every must be above 0 and at most 1, got {every}")
        if times < 0:
            raise ValueError(f"times must not be negative, got {times}")
        if not 0 < held <= 0.5:
            raise ValueError(f"held must be above 0 and at most 0.5, got {held}")
        self.strength, self.every, self.times, self.held = strength, every, times, held
        self.register_buffer("weights", torch.zeros(len(model.modalities)))
        for i, m in enumerate(model.modalities):
            own = [p.detach().flatten() for p in self._encoder_parameters(m)]
            self.register_buffer(f"initial{i}", torch.cat([torch.empty(0), *own]))
        # Of the epoch so far, by modality and whether the rows are held out.
        self._features = {(m, held): Collected() for m in model.modalities for held in (True, False)}
        self._saved = torch.nn.ModuleList(self._features.values())

    def turns(self, batch: Batch) -> Iterable[Turn]:
        # Not after the epoch, whose best weights are still to be saved.
        if self.clock.batch == 0 and self.weights.any():
            self._restart()
        trained = batch.take(stable_uniform(batch.indices) >= self.held)
        return super().turns(trained) if trained.inputs else []

    def loss(self, turn: Turn, batch: Batch) -> Tensor | dict[str, Tensor]:
        return super().loss(turn, batch.take(stable_uniform(batch.indices) >= self.held))

    def after_step(self, turn: Turn, batch: Batch) -> None:
        if not self._diagnoses():
            return
        draw = stable_uniform(batch.indices)
        with self.model.eval_mode():
            for held in (True, False):
                part = batch.take(draw < self.held if held else (draw >= self.held) & (draw < 2 * self.held))
                for m, x in part.inputs.items():
                    self._features[m, held].add(self.model.encode(m, x), part.labels_of(m))

    def after_epoch(self) -> None:
        for i, m in enumerate(self.model.modalities if self._diagnoses() else ()):
            kinds = [self._features[m, held] for held in (True, False)]
            if all(collected.parts for collected in kinds):
                held, trained = map(self._purity, kinds)
                self.weights[i] = restart_weight(trained, held, self.strength)
        for collected in self._features.values():
            collected.parts.clear()

    def _diagnoses(self) -> bool:
        done, step = self.clock.epoch + 1, max(1, round(self.every * self.clock.epochs))
        return done % step == 0 and done < self.clock.epochs and done // step <= self.times

    def _purity(self, collected: Collected) -> Tensor:
        features, labels = collected.all()
        return purity(clusters(scaled(features), self.model.num_classes), labels)

    @torch.no_grad()
    def _restart(self) -> None:
        for i, weight in enumerate(self.weights):
            own = self._encoder_parameters(self.model.modalities[i])
            starts = torch.split(self.get_buffer(f"initial{i}"), [p.numel() for p in own])
            for p, start in zip(own, starts, strict=True):
                p.lerp_(start.view_as(p).to(p), weight.to(p))
        self.weights.zero_()


def restart_weight(trained: Tensor, held: Tensor, strength: float) -> Tensor:
    """Return the weight :math:`a_m` of the initial weights, from training and held-out purity.

    Example:
        >>> restart_weight(torch.tensor(0.9), torch.tensor([0.9, 0.5]), strength=1.0)
        tensor([0.0000, 0.3799])
    """
    return torch.tanh(strength * (trained - held).abs())
