"""Predict with a trained model, from files, bytes, arrays or strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs, Prediction, concatenate
from altuna.data.dataset import MultimodalDataset, loader
from altuna.data.samples import prepare_stores, problems_of, samples_at
from altuna.data.table.manifest import Manifest
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.reporting import SILENT, Reporter
from altuna.runs import hub
from altuna.runs.data import open_manifest
from altuna.runs.samples import read_samples
from altuna.runs.weights import load_model

PART = 8192  # rows of a manifest that are predicted at once
BATCH, VECTOR_BATCH = 64, 4096  # samples encoded at once, and if all modalities are vectors


class Predictor:
    """A trained model with its readers.

    Args:
        run: The run directory, or ``hf:ORG/NAME``, a model on the Hugging Face hub.
        device: Where to compute; None: a GPU if there is one.

    Example:
        >>> import altuna
        >>> predictor = altuna.Predictor("runs/first")
        >>> predictor.modalities, len(predictor.classes)
        (('image', 'text'), 9)
    """

    def __init__(self, run: str | Path, device: str | torch.device | None = None) -> None:
        if str(run).startswith(hub.PREFIX):
            run = hub.download(str(run))
        self.description, self.model = load_model(Path(run))
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device)

    @classmethod
    def from_pretrained(
        cls, repo: str, *, revision: str | None = None, token: str | None = None, device: str | None = None
    ) -> Predictor:
        """Load a model that ``altuna.push_to_hub`` uploaded to the Hugging Face hub; nothing is unpickled.

        Args:
            repo: ``ORG/NAME``.
            revision: A branch, tag or commit.
            token: Access token of the hub; None: that of your login.
            device: As for the constructor.

        Raises:
            UserError: There is no such model, or the hub cannot be reached.
        """
        return cls(hub.download(repo, revision, token), device)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.description.classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in the order of the weights."""
        return self.model.modalities

    def predict(
        self, samples: str | Path | Sequence[Mapping[str, Any]], batch_size: int | None = None
    ) -> pa.Table:
        """Predict the class of every sample of a manifest or list.

        Args:
            samples: A manifest's path; or dicts from modality name to a path, bytes, an array (an image
                [H, W, 3] of uint8, or a vector), a pair (waveform, rate) for sound, or a string for text.
                A modality may be left out or None.
            batch_size: Number of samples per batch, see ``outputs_in_batches``. It does not change the
                predictions.

        Returns:
            A table with ``id``, ``prediction``, ``confidence``, ``p_<class>``, ``weight_<modality>`` and
            ``present_<modality>``, and ``n_modalities``; ``says_<modality>`` and ``confidence_<modality>``,
            the prediction of each modality alone and its confidence, null where absent; and ``label`` if
            the manifest has it. A row of a manifest without any readable cell has nulls.

        Raises:
            UserError: A sample without any modality, an unknown modality, or a cell that cannot be read.
        """
        if isinstance(samples, str | Path):
            return self.predict_manifest(self.open(samples), batch_size=batch_size)
        outputs, _ = self.outputs(read_samples(samples, self.description.readers), batch_size)
        ids = pa.array([str(sample.get("id", i)) for i, sample in enumerate(samples)])
        return self.table(self.model.fuse(outputs), ids)

    def open(
        self,
        path: str | Path,
        modalities: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        *,
        lenient: bool = True,
    ) -> Manifest:
        """Read a manifest with those of the model's modalities that it has; see ``open_manifest``."""
        return open_manifest(self.description, path, modalities, columns, lenient=lenient)

    def predict_manifest(
        self,
        manifest: Manifest,
        store: Path | None = None,
        batch_size: int | None = None,
        reporter: Reporter = SILENT,
    ) -> pa.Table:
        """Predict all rows of an opened manifest; see ``predict``."""
        return pa.concat_tables(self.predictions(manifest, store, batch_size, reporter))

    def predictions(
        self,
        manifest: Manifest,
        store: Path | None = None,
        batch_size: int | None = None,
        reporter: Reporter = SILENT,
    ) -> Iterator[pa.Table]:
        """Yield the table of ``predict`` in parts; only one part is in memory at a time."""
        readers = {name: self.description.readers[name] for name in manifest.modalities}
        stores = prepare_stores(manifest, readers, store or cache_folder() / "store", reporter)
        self.problems = problems_of(stores, manifest)
        if all((s.position < 0).all() for s in stores.values()):
            raise UserError(f"{manifest.path}: no row has anything that could be read")
        unlabelled = np.full(len(manifest), -1)
        for start in range(0, len(manifest), PART):
            rows = np.arange(start, min(start + PART, len(manifest)))
            samples = samples_at(rows, stores, unlabelled)
            outputs, _ = self.outputs(samples.dataset, batch_size)
            table = self.table(self.model.fuse(outputs), manifest.ids.take(pa.array(samples.rows)))
            if len(samples.rows) < len(rows):
                place = np.full(len(rows), -1)
                place[samples.rows - start] = np.arange(len(samples.rows))
                table = table.take(pa.array(place, mask=place < 0))
                table = table.set_column(0, "id", manifest.ids.slice(start, len(rows)))
            if manifest.labels.null_count < len(manifest):
                table = table.add_column(1, "label", manifest.labels.slice(start, len(rows)))
            yield table

    def outputs(
        self, dataset: MultimodalDataset, batch_size: int | None = None
    ) -> tuple[Outputs, torch.Tensor]:
        """Return the logits of each modality for every sample, and the labels, on the CPU."""
        m, c = len(self.modalities), self.model.num_classes
        joint = torch.zeros(0, c) if self.model.is_joint else None
        nothing = Outputs(torch.zeros(m, 0, c), torch.zeros(m, 0, dtype=torch.bool), joint)
        none = torch.zeros(0, dtype=torch.int64)
        return concatenate([(nothing, none), *self.outputs_in_batches(dataset, batch_size)])

    @torch.inference_mode()
    def outputs_in_batches(
        self, dataset: MultimodalDataset, batch_size: int | None = None
    ) -> Iterator[tuple[Outputs, torch.Tensor]]:
        """Yield ``outputs`` batch by batch.

        Args:
            dataset: The samples.
            batch_size: Samples computed at once; None: 64, or 4096 if all modalities are vectors.
        """
        self.model.eval()
        vectors = all(len(a.shape) == 2 and a.dtype.kind == "f" for a in dataset.arrays.values())
        for batch in loader(dataset, batch_size or (VECTOR_BATCH if vectors else BATCH), device=self.device):
            labels = batch.labels
            batch = batch.to(self.device, non_blocking=self.device.type == "cuda")
            yield self.model.outputs(batch.inputs, batch.rows, len(batch)).cpu(), labels

    def features(self, dataset: MultimodalDataset, batch_size: int = BATCH) -> Features:
        """Return the features of every sample, see ``features_of``."""
        return features_of(self.model, dataset, batch_size)

    def table(self, prediction: Prediction, ids: pa.Array, labels: pa.Array | None = None) -> pa.Table:
        """Return a prediction as the table of ``predictions.parquet``."""
        probabilities = prediction.probabilities.numpy()
        best = probabilities.argmax(1)
        columns: dict[str, Any] = {"id": ids}
        if labels is not None:
            columns["label"] = labels
        columns["prediction"] = pa.array(self.classes).take(pa.array(best))
        columns["confidence"] = probabilities.max(1)
        columns |= {f"p_{c}": probabilities[:, i] for i, c in enumerate(self.classes)}
        for i, name in enumerate(self.modalities):
            columns[f"weight_{name}"] = prediction.weights[i].numpy()
        for i, name in enumerate(self.modalities):
            columns[f"present_{name}"] = prediction.present[i].numpy()
        columns["n_modalities"] = prediction.present.sum(0).numpy()
        absent = ~prediction.present.numpy()
        outputs = Outputs(prediction.unimodal_logits, prediction.present, None)
        confidence, classes = self.model.opinions(outputs).log_probabilities.exp().float().max(-1)
        for i, name in enumerate(self.modalities):
            columns[f"says_{name}"] = pa.array(self.classes).take(
                pa.array(classes[i].numpy(), mask=absent[i])
            )
        for i, name in enumerate(self.modalities):
            columns[f"confidence_{name}"] = pa.array(confidence[i].numpy(), mask=absent[i])
        return pa.table(columns)


@torch.inference_mode()
def features_of(model: MultimodalClassifier, dataset: MultimodalDataset, batch_size: int = BATCH) -> Features:
    """Return the features of every sample (``MultimodalClassifier.encode_all``), on the CPU.

    Example:
        >>> model = MultimodalClassifier({"sound": torch.nn.Linear(3, 4)}, num_classes=2)
        >>> cells, position = {"sound": np.ones((2, 3), np.float32)}, {"sound": np.array([0, 1])}
        >>> features_of(model, MultimodalDataset(cells, position, np.array([0, 1]))).of["sound"].shape
        torch.Size([2, 4])
    """
    model.eval()
    device = model.prior.device
    parts = []
    for batch in loader(dataset, batch_size, device=device):
        cells = batch.to(device).inputs
        of = {m: model.encode_all(m, x).float().cpu() for m, x in cells.items()}
        parts.append(Features(of, batch.rows, batch.labels))
    return Features.joined(parts)


def load(run: str | Path, device: str | None = None) -> Predictor:
    """Load the model of a run directory, or of the hub (``hf:ORG/NAME``); nothing is unpickled.

    Raises:
        UserError: Not a finished run directory, of another version, or damaged.

    Example:
        >>> import altuna
        >>> model = altuna.load("runs/first")
        >>> model.predict([{"text": "slice of pizza"}])["prediction"].to_pylist()
        ['Food & Drink']
    """
    return Predictor(run, device)
