"""Predict with a trained model, from files, bytes, arrays or strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from altuna.core.model import MultimodalClassifier
from altuna.core.outputs import Features, Outputs, Prediction, concatenate
from altuna.data.dataset import MultimodalDataset, loader
from altuna.data.samples import prepare_stores, problems_of, samples_at
from altuna.data.table.manifest import RESERVED, Manifest
from altuna.errors import UserError
from altuna.files import cache_folder
from altuna.reporting import SILENT, LoggingReporter, Reporter
from altuna.runs import hub
from altuna.runs.data import open_manifest
from altuna.runs.directory import read_account, read_config
from altuna.runs.frames import is_frame, records_of, table_of
from altuna.runs.records import Fields, is_missing
from altuna.runs.remarks import report_first, report_problems
from altuna.runs.samples import read_samples
from altuna.runs.weights import load_model

PART = 8192  # rows of a manifest that are predicted at once
BATCH, VECTOR_BATCH = 64, 4096  # samples encoded at once, and if all modalities are vectors


class Predictor:
    """A trained model with its readers.

    Args:
        run: The run directory, or ``hf:ORG/NAME``, a model on the Hugging Face hub.
        device: Device for the computations. None: a GPU if there is one, otherwise the CPU.

    Example:
        >>> import altuna
        >>> predictor = altuna.Predictor("runs/first")
        >>> predictor.modalities, len(predictor.classes)
        (('image', 'text'), 9)
    """

    def __init__(self, run: str | Path, device: str | torch.device | None = None) -> None:
        if str(run).startswith(hub.PREFIX):
            run = hub.download(str(run))
        self.run = Path(run)
        self.description, self.model = load_model(self.run)
        self._said: set[str] = set()
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
        self, samples: Any, batch_size: int | None = None, reporter: Reporter | None = None
    ) -> pa.Table:
        """Predict the class of every sample of a manifest, a frame or a list.

        Args:
            samples: A manifest's path; a frame of pandas or polars, or an Arrow table; or a list of dicts. A
                dict maps a modality to a path, bytes, an array (an image [H, W, 3] of uint8, a series [T, C],
                or a vector), a list of pictures, nested lists for a series, a pair (waveform, rate) for
                sound, or a string for text; or a column of training to its value, as the rows of a frame do.
                A value counts as missing if it is absent, None, NaN or blank.
            batch_size: Number of samples per batch, see ``outputs_in_batches``. It does not change the
                predictions.
            reporter: Receives notes on missing, imputed, unreadable values (default: the logger ``altuna``).

        Returns:
            A table with ``id``, ``prediction``, ``confidence``, ``p_<class>``, ``weight_<modality>`` and
            ``present_<modality>``, and ``n_modalities``; ``says_<modality>`` and ``confidence_<modality>``,
            the prediction of each modality alone and its confidence, null where absent; and ``label`` if
            the manifest has it. A sample without any readable cell has nulls.

        Raises:
            UserError: Nothing to predict, a dict with an unknown key, or with a cell that cannot be read.
        """
        reporter = LoggingReporter() if reporter is None else reporter
        table = table_of(samples) if is_frame(samples) else None
        if table is None and not isinstance(samples, str | Path):
            fields = Fields(
                self.description.readers,
                self.description.columns,
                self._others,
                not is_frame(samples),
                self.description.formats,
            )
            return self._predict_records(records_of(samples), fields, batch_size, reporter)
        path = samples if table is None else type(samples).__name__
        manifest = open_manifest(self.description, path, columns=self.roles, table=table)
        predicted = self.predict_manifest(manifest, batch_size=batch_size)
        report_problems(manifest, self.problems, reporter)
        return predicted

    def _predict_records(
        self, samples: Sequence[Mapping[Any, Any]], fields: Fields, batch_size: int | None, reporter: Reporter
    ) -> pa.Table:
        remarks: list[tuple[str, str]] = []
        read = read_samples(samples, fields, lambda *remark: remarks.append(remark))
        outputs, _ = self.outputs(read.dataset, batch_size)
        key = self.roles.get("id", "id")
        names = [sample.get(key) for sample in samples]
        ids = pa.array([str(i if is_missing(name) else name) for i, name in enumerate(names)])
        table = self.table(self.model.fuse(outputs), ids.take(pa.array(read.rows)))
        notes = [*fields.notes]
        notes += [f"{n!r} is absent in all of them" for n in fields.readers if n not in read.dataset.arrays]
        if empty := len(samples) - len(read.rows):
            notes.append(f"without any of the model's modalities: {empty:,} of {len(samples):,}")
        # As records may come one at a time, what an earlier call has reported is not reported again.
        for note in notes:
            if note not in self._said:
                reporter.note(f"samples: {note}")
        report_first([f"{place} {reason}" for place, reason in remarks if reason not in self._said], reporter)
        self._said |= {*notes, *(reason for _, reason in remarks)}
        return spread(table, read.rows, ids)

    @cached_property
    def roles(self) -> dict[str, str]:
        """Return the columns of ``id``, ``split``, ``label`` and ``group`` that the options state."""
        # Models of the hub and exported ones have no options of a training.
        known = read_config(self.run).get("columns") if (self.run / "config.yaml").exists() else None
        return known or {}

    @cached_property
    def _others(self) -> set[str]:
        """Return the columns of the table of training that are no modality: records may have them, too."""
        return {*RESERVED, *self.roles.values(), *(column.column for column in read_account(self.run))}

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
            table = spread(table, samples.rows - start, manifest.ids.slice(start, len(rows)))
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


def spread(table: pa.Table, rows: NDArray[np.int64], ids: pa.Array) -> pa.Table:
    """Return predictions of some rows as a table of all rows, with nulls in the others.

    Example:
        >>> predictions = pa.table({"id": ["owl"], "prediction": ["bird"]})
        >>> spread(predictions, np.array([1]), pa.array(["cat", "owl"])).to_pydict()
        {'id': ['cat', 'owl'], 'prediction': [None, 'bird']}
    """
    if len(rows) == len(ids):
        return table
    place = np.full(len(ids), -1)
    place[rows] = np.arange(len(rows))
    return table.take(pa.array(place, mask=place < 0)).set_column(0, "id", ids)


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
    """Load the model of a run directory, or of the Hugging Face hub (``hf:ORG/NAME``), without unpickling.

    Raises:
        UserError: The run is not finished, is damaged, or was written by a different version.

    Example:
        >>> import altuna
        >>> model = altuna.load("runs/first")
        >>> model.predict([{"text": "slice of pizza"}])["prediction"].to_pylist()
        ['Food & Drink']
    """
    return Predictor(run, device)
