"""A new method in 30 lines, compared with MLA: train the modality with the highest loss in every batch.

A method defines the turns of a batch and may change losses and gradients. The training loop calls
backward and step. Use the name ``new_method.Neediest`` like the name of any method of altuna.
"""

from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

import torch
from sensors import write_table

import altuna
from altuna.methods.base import Method, Turn


class Neediest(Method):
    """Train the modality with the highest running loss, of those in the batch.

    Args:
        memory: Weight of the old running loss when a turn updates it.
    """

    head = "separate"

    def __init__(self, model: altuna.MultimodalClassifier, *, memory: float = 0.9) -> None:
        super().__init__(model)
        self.memory = memory
        self.register_buffer("losses", torch.full((len(model.modalities),), 100.0))  # saved and resumed

    def turns(self, batch: altuna.Batch) -> Iterable[Turn]:
        """Yield the turn of that modality."""
        yield max(super().turns(batch), key=lambda turn: self.losses[self._place(turn)])

    def loss(self, turn: Turn, batch: altuna.Batch) -> torch.Tensor:
        """Return the modality's cross-entropy, and remember it."""
        loss = super().loss(turn, batch)
        self.losses[self._place(turn)].lerp_(loss.detach(), 1 - self.memory)
        return loss

    def _place(self, turn: Turn) -> int:
        return self.model.modalities.index(turn.modalities[0])


def main() -> None:
    """Compare it with MLA on the same data at an equal encoder-update budget."""
    folder = Path(mkdtemp(prefix="altuna-"))
    compared = altuna.compare(
        str(write_table(folder / "readings.csv", samples=300)),
        methods=["mla", "new_method.Neediest"],
        seeds=2,
        epochs=5,
        jobs=2,
        threads=1,  # per run: a network this small gains nothing from more
        out=folder / "comparison",
        logger="none",
    )
    print((compared / "compare.md").read_text(encoding="utf-8"))
    print(f"All numbers: compare.json in {compared}")


if __name__ == "__main__":
    main()
