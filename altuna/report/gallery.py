"""Test samples: the inputs, the prediction of each modality, and the fused prediction."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
from numpy.typing import NDArray
from PIL import Image

from altuna.data.readers import BadCellError, Reader
from altuna.data.readers.audio import AudioReader
from altuna.data.readers.base import silent
from altuna.data.readers.image import ImageReader
from altuna.data.readers.image_list import ImageListReader
from altuna.data.readers.text import text_of
from altuna.data.readers.video import VideoReader
from altuna.data.store.build import read_cell
from altuna.data.table.cells import Cells
from altuna.errors import UserError
from altuna.recipes.built_in import find_manifest
from altuna.report.drawing import Drawing, Line, Shape
from altuna.report.frame import colours, number, short
from altuna.report.page import folded
from altuna.report.runs import Run
from altuna.runs.data import open_manifest

MAX_SAMPLES = 36
MAX_PARTS = 4  # modalities of a sample that are not folded
MAX_VALUES = 12  # columns of a tabular modality
SIDE = 144  # pixels of an image
SECONDS, RATE = 4.0, 16_000  # of a sound, at most
MAX_LETTERS = 280  # of a text
MAX_NAME = 48  # letters of a class or an id
FEW_NUMBERS = 8  # that are shown one by one
FRAMES = 3  # of a video or a list of pictures
MAX_CHANNELS = 6  # of a series that are drawn
MAX_AWAY = 3.0  # standard deviations that a drawn number is from the mean
Scale = tuple[NDArray[np.float32], NDArray[np.float32]]
KINDS = {
    "all": "all",
    "disagree": "modalities disagree",
    "rescued": "fusion correct, a modality wrong",
    "broke": "fusion wrong, a modality correct",
}


class Modality(NamedTuple):
    """A modality whose cells are shown: reader, names of its numbers, their mean and standard deviation."""

    name: str
    reader: Reader
    columns: tuple[str, ...]
    scale: Scale | None

    @property
    def label(self) -> str:
        """The name of a cell in an attribute."""
        return escape(f"{self.name} of this sample", quote=True)


def gallery(run: Run, room: int) -> str:
    """Return the gallery of a run in at most ``room`` bytes; cells that cannot be read become notes."""
    kinds = kinds_of(run)
    chosen = _chosen(kinds)
    media, note = _media(run, chosen)
    with ThreadPoolExecutor() as pool:  # codecs release the GIL
        cards = pool.map(lambda i: _card(run, media, i, [k for k in kinds if kinds[k][i]]), chosen)
        shown, room = [], room - 4000
        for card in cards:
            room -= len(card.encode())
            if room < 0:
                pool.shutdown(wait=False, cancel_futures=True)
                break
            shown.append(card)
    buttons = "".join(
        f"<button type=button data-kind={kind} aria-pressed={str(kind == 'all').lower()}"
        f"{' disabled' * (kind != 'all' and not kinds[kind].any())}>{title}"
        + (f" <small>{int(kinds[kind].sum()):,} of {len(run.table):,}</small>" if kind != "all" else "")
        + "</button>"
        for kind, title in KINDS.items()
    )
    few = "; only some of these samples are shown here" * (len(shown) < len(run.table))
    return (
        "<p>Each card shows a sample's true class, its inputs with the prediction and the fusion weight of "
        "each modality, and the fused prediction. A percentage after a prediction is its confidence. The "
        f"buttons count the samples of the whole split{few}.</p>{note}"
        f"<div class=filters role=group aria-label='Filter samples'>{buttons}</div>"
        f"<p id=count role=status>{len(shown)} samples shown</p><div class=samples>{''.join(shown)}</div>"
    )


def kinds_of(run: Run) -> dict[str, NDArray[np.bool_]]:
    """Return which samples [N] are of each kind except ``all``."""
    predicted = np.stack([run.predicted_by(m) for m in run.modalities])
    here, correct = predicted >= 0, predicted == run.truth
    first = predicted[here.argmax(0), np.arange(predicted.shape[1])]
    fused = run.predicted == run.truth
    return {
        "disagree": (here & (predicted != first)).any(0),
        "rescued": fused & (here & ~correct).any(0),
        "broke": ~fused & (here & correct).any(0),
    }


def _chosen(kinds: Mapping[str, NDArray[np.bool_]]) -> list[int]:
    """Return samples of all kinds in turn, with a fixed seed; the last ones may not fit into the page."""
    number = len(next(iter(kinds.values())))
    order = np.random.default_rng(0).permutation(number)
    queues = [[*order[kind[order]]] for kind in (kinds["rescued"], kinds["broke"], np.ones(number, bool))]
    chosen: dict[int, None] = {}
    while len(chosen) < MAX_SAMPLES and any(queues):
        for queue in queues:
            while queue:
                if (sample := int(queue.pop(0))) not in chosen:
                    chosen[sample] = None
                    break
    return [*chosen][:MAX_SAMPLES]


class Media(NamedTuple):
    """The cells of each modality by manifest row, and the row of each sample [N] (-1: none)."""

    cells: dict[str, Cells]
    rows: NDArray[np.int64]
    modalities: dict[str, Modality]


def _media(run: Run, chosen: Sequence[int]) -> tuple[Media, str]:
    """Return the cells, and a note if the data cannot be opened any more."""
    config, readers = run.config, run.description.readers
    try:
        path = find_manifest(config["data"], Path(config["root"]) if config.get("root") else None)
        manifest = open_manifest(run.description, path, config.get("modalities"), config.get("columns"))
    except (UserError, OSError, pa.ArrowException) as error:
        reason = escape(" ".join(str(error).split())[:300])
        note = f"<p class=note>The inputs of the samples cannot be shown: {reason}</p>"
        return Media({}, np.full(len(run.table), -1), {}), note
    found = pc.index_in(run.table["id"].combine_chunks(), manifest.ids).fill_null(-1)
    rows = np.asarray(found, dtype=np.int64)
    cells = {m: Cells(manifest, m) for m in manifest.modalities}
    modalities = {
        m: Modality(m, readers[m], run.description.columns.get(m, ()), _scale(readers[m], of, rows[chosen]))
        for m, of in cells.items()
    }
    return Media(cells, rows, modalities), ""


def _card(run: Run, media: Media, i: int, kinds: Sequence[str]) -> str:
    (sample,) = run.table.slice(i, 1).to_pylist()
    truth, parts = sample["label"], []
    shades = colours(run.modalities)
    for m in run.modalities:
        if not sample[f"present_{m}"]:
            parts.append(_part(m, f"<p class=note>{_why_missing(media, m, i)}</p>"))
            continue
        says = _prediction(sample[f"says_{m}"], truth, sample[f"confidence_{m}"])
        weight = sample[f"weight_{m}"]
        bar = f"<span class=bar style='--share:{weight:.3f};--c:var(--{shades[m][0]})'></span>"
        parts.append(
            _part(m, f"{_shown(media, m, i)}<div class=says>{says}<br>{bar} weight {weight:.0%}</div>")
        )
    if more := parts[MAX_PARTS:]:
        parts[MAX_PARTS:] = [folded(f"{len(more)} more", "".join(more))]
    fused = _prediction(sample["prediction"], truth, sample["confidence"])
    return (
        f"<article class=sample data-kinds='{' '.join(kinds)}'>"
        f"<h3>{escape(short(truth, MAX_NAME))}</h3>"
        f"<small>{escape(short(sample['id'], MAX_NAME))}</small>{''.join(parts)}"
        f"<footer class=says><b>fused</b> {fused}</footer></article>"
    )


def _part(modality: str, content: str) -> str:
    return f"<div class=given><h4>{escape(modality)}</h4>{content}</div>"


def _prediction(predicted: str, truth: str, confidence: float) -> str:
    kind, mark, word = ("right", "✓", "correct") if predicted == truth else ("wrong", "✗", "wrong")
    shown = escape(short(predicted, MAX_NAME))
    return f"<b class={kind}>{shown} <span role=img aria-label={word}>{mark}</span></b> {confidence:.0%}"


def _shown(media: Media, m: str, i: int) -> str:
    if m not in media.cells:
        return ""
    try:
        row = int(media.rows[i])
        cell = media.cells[m][row] if row >= 0 else None
        if cell is None:
            raise BadCellError("the data no longer contain this sample")
        return SHOW[media.modalities[m].reader.type](cell, media.modalities[m])
    except BadCellError as error:
        reason = str(error)
    except Exception as error:  # one cell that a library cannot show must not cost the report
        reason = f"{type(error).__name__}: {error}"
    return f"<p class=note>cannot be shown: {escape(' '.join(reason.split())[:200])}</p>"


def _why_missing(media: Media, m: str, i: int) -> str:
    """Return whether the cell is empty, or was unreadable or masked in this run."""
    row = int(media.rows[i])
    there = m in media.cells and row >= 0 and media.cells[m].filled[row]
    return "masked or unreadable in this run" if there else "missing"


def _image(cell: Any, modality: Modality) -> str:
    return _picture(ImageReader(SIDE).read(cell), modality.label)


def _image_list(cell: Any, modality: Modality) -> str:
    assert isinstance(modality.reader, ImageListReader)
    shown = ImageListReader(min(len(cell), FRAMES), SIDE, modality.reader.levels).read(cell)
    more = f"<small>{FRAMES} of {len(cell)} pictures</small>" * (len(cell) > FRAMES)
    return _picture(np.concatenate([*shown], axis=1), modality.label) + more


def _video(cell: Any, modality: Modality) -> str:
    return _picture(np.concatenate([*VideoReader(FRAMES, SIDE).read(cell)], axis=1), modality.label)


def _picture(pixels: NDArray[np.uint8], label: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=72)
    height, width = pixels.shape[:2]
    return (
        f'<img src="{_data("image/webp", file)}" width={width} height={height} alt="{label}" decoding=async>'
    )


def _audio(cell: Any, modality: Modality) -> str:
    assert isinstance(modality.reader, AudioReader)
    wave = AudioReader(RATE, min(SECONDS, modality.reader.seconds)).read(cell)
    file = io.BytesIO()
    # The one format that every browser plays.
    soundfile.write(file, wave, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.9)
    source = _data("audio/mpeg", file)
    return f'<audio controls preload=none src="{source}" aria-label="{modality.label}"></audio>'


def _text(cell: Any, modality: Modality) -> str:
    text = " ".join(text_of(cell, silent).split())
    return f"<blockquote>{escape(text[:MAX_LETTERS])}{'…' * (len(text) > MAX_LETTERS)}</blockquote>"


def _vector(cell: Any, modality: Modality) -> str:
    values = modality.reader.read(cell)
    if len(values) == len(modality.columns) <= FEW_NUMBERS:
        numbers = (number(v) if isfinite(v) else "–" for v in values.tolist())
        pairs = zip(modality.columns, numbers, strict=True)
        return f"<dl>{''.join(f'<dt>{escape(c)}<dd>{v}' for c, v in pairs)}</dl>"
    assert modality.scale is not None
    mean, deviation = modality.scale
    away = np.nan_to_num((values - mean) / deviation).clip(-MAX_AWAY, MAX_AWAY)
    # A long vector is drawn as the means of as many parts as there are pixels.
    means = [float(part.mean()) for part in np.array_split(away, min(len(away), 240))]
    step, middle = 236 / max(1, len(means) - 1), 24.0
    points = [(2 + step * i, middle * (1 - v / (MAX_AWAY + 0.2))) for i, v in enumerate(means)]
    caption = f"{len(values):,} numbers, in standard deviations from the mean of these samples"
    shapes: list[Shape] = [Line([(2, middle), (238, middle)], "line"), Line(points, "c0", 1.5, title=caption)]
    return f"{Drawing('', modality.name, 240, 2 * middle, caption, shapes).svg()}<small>{caption}</small>"


def _series(cell: Any, modality: Modality) -> str:
    steps = modality.reader.read(cell)
    steps = steps[: int(np.flatnonzero(~np.isnan(steps).all(1))[-1]) + 1]
    known = np.ma.masked_invalid(steps)
    deviation = known.std(axis=0).filled(0.0)
    away = (known - known.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    drawn = away.filled(0.0).clip(-MAX_AWAY, MAX_AWAY)[:, :MAX_CHANNELS]
    # A long series is drawn as the means of as many parts as there are pixels.
    parts = np.stack([part.mean(axis=0) for part in np.array_split(drawn, min(len(drawn), 240))], axis=1)
    step, middle = 236 / max(1, parts.shape[1] - 1), 32.0
    shapes: list[Shape] = [Line([(2, middle), (238, middle)], "line")]
    for i, values in enumerate(parts.tolist()):
        points = [(2 + step * x, middle * (1 - y / (MAX_AWAY + 0.2))) for x, y in enumerate(values)]
        shapes.append(
            Line(points, f"c{i}", 1.2, title=modality.columns[i] if i < len(modality.columns) else "")
        )
    length, channels = steps.shape
    of = (
        f"the first {MAX_CHANNELS} of {channels} channels"
        if channels > MAX_CHANNELS
        else f"{channels} channel"
    )
    of += "s" * (1 < channels <= MAX_CHANNELS)
    caption = f"{length:,} steps of {of}, in standard deviations from the mean of each"
    return f"{Drawing('', modality.name, 240, 2 * middle, caption, shapes).svg()}<small>{caption}</small>"


def _tabular(cell: Any, modality: Modality) -> str:
    rows = [
        f"<tr><th>{escape(short(name, MAX_NAME))}<td>{escape(short(_written(value), MAX_NAME))}"
        for name, value in cell.items()
    ]
    more = f"<p class=note>{len(rows) - MAX_VALUES} more columns</p>" if len(rows) > MAX_VALUES else ""
    return f"<table class=values>{''.join(rows[:MAX_VALUES])}</table>{more}"


def _written(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _scale(reader: Reader, cells: Cells, rows: NDArray[np.int64]) -> Scale | None:
    """Return mean and standard deviation of the vectors of some rows; None if there are none."""
    if reader.type != "vector":
        return None
    given = (cells[int(row)] for row in rows if row >= 0)
    found = (read_cell(reader, cell)[0] for cell in given if cell is not None)
    vectors = [v for v in found if v is not None]
    if not vectors:
        return None
    numbers = np.ma.masked_invalid(vectors)  # a number that no row has is masked
    deviation = numbers.std(axis=0).filled(0.0)
    return numbers.mean(axis=0).filled(np.nan), np.where(deviation > 0, deviation, 1.0)


def _data(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


# By the type of a modality.
SHOW: dict[str, Callable[[Any, Modality], str]] = {
    "image": _image,
    "image_list": _image_list,
    "video": _video,
    "audio": _audio,
    "text": _text,
    "series": _series,
    "vector": _vector,
    "tabular": _tabular,
}
