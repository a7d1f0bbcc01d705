"""Watch: seven shoulder exercises, measured by a smart watch (Burns et al., arXiv:1802.01489).

140 recordings of 10 people (7 exercises, each arm), 6 channels at 50 Hz, as the PyPI package ``seglearn``
carries them under a BSD licence. They are cut into windows of 2 s that do not overlap. ``prepare`` describes
each window by statistics and band energies of its channels, ``prepare_series`` keeps its samples. Split by
person.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from altuna.files import atomic_write, write_csv
from altuna.recipes.packages import package_file

PEOPLE = {"train": range(1, 6), "val": range(6, 8), "test": range(8, 11)}
RATE, WINDOW = 50, 100  # samples per second and per window
BANDS = (0.25, 1.0, 2.0, 4.0, 8.0, 25.25)  # limits in Hz
SENSORS = {"a": "accelerometer", "w": "gyroscope"}  # by the first letter of the channels ax, ay, ..., wz
PLACE = ("id", "split", "label", "group")
STATISTICS = ("mean", "std", "min", "q25", "median", "q75", "max")

Array = np.ndarray[Any, Any]


def prepare(out: Path) -> Path:
    """Write the manifest of Watch.

    Args:
        out: Folder of the manifest, created if it does not exist.

    Returns:
        The path of ``out/manifest.csv``: id, split, label (the exercise), group (the person), then 36 columns
        ``accelerometer.<axis>_<feature>`` and 36 columns ``gyroscope.<axis>_<feature>``.

    Raises:
        UserError: The package that carries the data is not installed.
    """
    release = _release()
    rows = [
        [*place, *(f"{v:.6g}" for v in values)]
        for places, recording in _recordings(release)
        for place, values in zip(places, features(recording), strict=True)
    ]
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.csv"
    write_csv(manifest, [[*PLACE, *_columns(release["X_labels"])], *rows])
    return manifest


def prepare_series(out: Path) -> Path:
    """Write the manifest of Watch with series in place of features; the rows are those of ``prepare``.

    Args:
        out: Folder of the manifest, created if it does not exist.

    Returns:
        The path of ``out/manifest.parquet``: id, split, label, group, and the columns ``accelerometer`` and
        ``gyroscope``, lists of 100 steps of 3 numbers.

    Raises:
        UserError: The package that carries the data is not installed.
    """
    release = _release()
    columns: dict[str, list[Any]] = {name: [] for name in (*PLACE, *SENSORS.values())}
    sensors = [SENSORS[channel[0]] for channel in release["X_labels"]]
    for places, recording in _recordings(release):
        for place, window in zip(places, windows_of(recording), strict=True):
            for name, value in zip(PLACE, place, strict=True):
                columns[name].append(value)
            for sensor in SENSORS.values():
                own = [i for i, name in enumerate(sensors) if name == sensor]
                columns[sensor].append(window[:, own].astype(np.float32).tolist())
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.parquet"
    kinds = {name: pa.list_(pa.list_(pa.float32())) for name in SENSORS.values()}
    arrays = {name: pa.array(cells, kinds.get(name, pa.string())) for name, cells in columns.items()}
    with atomic_write(manifest) as unfinished:
        pyarrow.parquet.write_table(pa.table(arrays), unfinished)
    return manifest


def _release() -> dict[str, Any]:
    path = package_file("seglearn", "seglearn/data/watch_dataset.npy", "pip install 'altuna[sensors]'")
    # A pickle, but part of an installed package, whose code is trusted as much.
    release: dict[str, Any] = np.load(path, allow_pickle=True).item()
    return release


def _recordings(release: dict[str, Any]) -> Iterator[tuple[list[list[str]], Array]]:
    """Yield each recording [samples, channels], and the id, split, label and group of its windows."""
    split_of = {person: split for split, people in PEOPLE.items() for person in people}
    for number, recording in enumerate(release["X"]):
        person, label = int(release["subject"][number]), release["y_labels"][int(release["y"][number])]
        rest = [split_of[person], label, f"person-{person:02d}"]
        windows = range(len(recording) // WINDOW)
        places = [[f"recording-{number:03d}-{window:02d}", *rest] for window in windows]
        yield places, np.asarray(recording)


def windows_of(recording: Array) -> Array:
    """Return the windows [windows, 100, channels] of a recording [samples, channels].

    Example:
        >>> windows_of(np.zeros((250, 6))).shape
        (2, 100, 6)
    """
    count = len(recording) // WINDOW
    return recording[: count * WINDOW].reshape(count, WINDOW, -1)


def features(recording: Array) -> Array:
    """Return the features of the windows of a recording.

    Args:
        recording: [samples, channels], 50 per second. What is left after the last whole window is not used.

    Returns:
        [windows, channels * 12]: per channel the seven ``STATISTICS``, then the logarithm of the mean energy
        in each of the five bands between ``BANDS``.

    Example:
        >>> time = np.arange(250) / RATE
        >>> table = features(np.stack([np.sin(2 * np.pi * 3 * time), time], axis=1))
        >>> table.shape, int(table[0, 7:12].argmax())  # 3 Hz is in the third band
        ((2, 24), 2)
    """
    windows = windows_of(recording)
    quantiles = np.quantile(windows, (0, 0.25, 0.5, 0.75, 1), axis=1)
    spectrum = np.abs(np.fft.rfft(windows, axis=1)) ** 2 / WINDOW
    band = np.digitize(np.fft.rfftfreq(WINDOW, 1 / RATE), BANDS)
    energies = [np.log(spectrum[:, band == b].mean(axis=1) + 1e-6) for b in range(1, len(BANDS))]
    stacked = np.stack([windows.mean(axis=1), windows.std(axis=1), *quantiles, *energies], axis=2)
    return stacked.reshape(len(windows), -1)


def _columns(channels: list[str]) -> list[str]:
    names = [*STATISTICS, *(f"band{number}" for number in range(1, len(BANDS)))]
    return [f"{SENSORS[channel[0]]}.{channel[1]}_{name}" for channel in channels for name in names]
