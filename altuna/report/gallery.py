"""Test samples with what the model was given, what each modality said, and the fused answer."""

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

MOST_SAMPLES = 36
MOST_PARTS = 4  # modalities of a sample that are shown at once
SIDE = 144  # pixels of a picture
SECONDS, RATE = 4.0, 16_000  # of a sound, at most
LETTERS = 280  # of a text
LETTERS_OF_NAME = 48
FEW_NUMBERS = 8  # that are shown one by one
FRAMES = 3  # of a video
MOST_AWAY = 3.0  # standard deviations that a drawn number is from the mean
Scale = tuple[NDArray[np.float32], NDArray[np.float32]]
KINDS = {
    "all": "all",
    "disagree": "modalities disagree",
    "rescued": "fusion rescued",
    "broke": "fusion broke",
}


class Modality(NamedTuple):
    """What there is to know of a modality whose cells are shown; ``scale`` is that of its vectors."""

    name: str
    reader: Reader
    columns: tuple[str, ...]
    scale: Scale | None

    @property
    def said(self) -> str:
        """What to call a cell, within an attribute."""
        return escape(f"{self.name} of this sample", quote=True)


def gallery(run: Run, room: int) -> str:
    """Return the gallery of a run in at most ``room`` bytes; what cannot be read is a note."""
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
        f"{' disabled' * (kind != 'all' and not kinds[kind].any())}>{said}"
        + (f" <small>{int(kinds[kind].sum()):,} of {len(run.table):,}</small>" if kind != "all" else "")
        + "</button>"
        for kind, said in KINDS.items()
    )
    few = ", of which a few are here" * (len(shown) < len(run.table))
    return (
        "<p>Rescued: some modality was wrong and the fused answer right. Broke: some modality was right and "
        "the fused answer wrong. The percentage behind an answer is its confidence. The buttons "
        f"count the whole split{few}.</p>{note}"
        f"<div class=filters role=group aria-label='Samples to show'>{buttons}</div>"
        f"<p id=count role=status>{len(shown)} samples shown</p><div class=samples>{''.join(shown)}</div>"
    )


def kinds_of(run: Run) -> dict[str, NDArray[np.bool_]]:
    """Return which samples [N] are of each kind but ``all``."""
    said = np.stack([run.said(m) for m in run.modalities])
    here, right = said >= 0, said == run.truth
    first = said[here.argmax(0), np.arange(said.shape[1])]
    fused = run.predicted == run.truth
    return {
        "disagree": (here & (said != first)).any(0),
        "rescued": fused & (here & ~right).any(0),
        "broke": ~fused & (here & right).any(0),
    }


def _chosen(kinds: Mapping[str, NDArray[np.bool_]]) -> list[int]:
    """Return samples of all kinds in turn, drawn by a fixed seed: what comes last may find no room."""
    number = len(next(iter(kinds.values())))
    order = np.random.default_rng(0).permutation(number)
    queues = [[*order[kind[order]]] for kind in (kinds["rescued"], kinds["broke"], np.ones(number, bool))]
    chosen: dict[int, None] = {}
    while len(chosen) < MOST_SAMPLES and any(queues):
        for queue in queues:
            while queue:
                if (sample := int(queue.pop(0))) not in chosen:
                    chosen[sample] = None
                    break
    return [*chosen][:MOST_SAMPLES]


class Media(NamedTuple):
    """Where cells are: by modality those of all manifest rows, and each sample's row [N] (-1: none)."""

    cells: dict[str, Cells]
    rows: NDArray[np.int64]
    modalities: dict[str, Modality]


def _media(run: Run, chosen: Sequence[int]) -> tuple[Media, str]:
    """Return the cells, and a note if they are no longer to be had."""
    config, readers = run.config, run.description.readers
    try:
        path = find_manifest(config["data"], Path(config["root"]) if config.get("root") else None)
        manifest = open_manifest(run.description, path, config.get("modalities"), config.get("columns"))
    except (UserError, OSError, pa.ArrowException) as error:
        reason = escape(" ".join(str(error).split())[:300])
        note = f"<p class=note>What the samples look like cannot be shown: {reason}</p>"
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
        says = _answer(sample[f"says_{m}"], truth, sample[f"confidence_{m}"])
        weight = sample[f"weight_{m}"]
        bar = f"<span class=bar style='--share:{weight:.3f};--c:var(--{shades[m][0]})'></span>"
        parts.append(
            _part(m, f"{_shown(media, m, i)}<div class=says>says {says}<br>{bar} weight {weight:.0%}</div>")
        )
    if more := parts[MOST_PARTS:]:
        parts[MOST_PARTS:] = [folded(f"{len(more)} more", "".join(more))]
    fused = _answer(sample["prediction"], truth, sample["confidence"])
    return (
        f"<article class=sample data-kinds='{' '.join(kinds)}'>"
        f"<h3>{escape(short(truth, LETTERS_OF_NAME))}</h3>"
        f"<small>{escape(short(sample['id'], LETTERS_OF_NAME))}</small>{''.join(parts)}"
        f"<footer class=says><b>fused</b> {fused}</footer></article>"
    )


def _part(modality: str, content: str) -> str:
    return f"<div class=given><h4>{escape(modality)}</h4>{content}</div>"


def _answer(said: str, truth: str, confidence: float) -> str:
    kind, mark, word = ("right", "✓", "right") if said == truth else ("wrong", "✗", "wrong")
    shown = escape(short(said, LETTERS_OF_NAME))
    return f"<b class={kind}>{shown} <span role=img aria-label={word}>{mark}</span></b> {confidence:.0%}"


def _shown(media: Media, m: str, i: int) -> str:
    if m not in media.cells:
        return ""
    try:
        row = int(media.rows[i])
        cell = media.cells[m][row] if row >= 0 else None
        if cell is None:
            raise BadCellError("the data have it no more")
        return SHOW[media.modalities[m].reader.type](cell, media.modalities[m])
    except BadCellError as error:
        reason = str(error)
    except Exception as error:  # a library's surprise about one cell must not lose the report
        reason = f"{type(error).__name__}: {error}"
    return f"<p class=note>cannot be shown: {escape(' '.join(reason.split())[:200])}</p>"


def _why_missing(media: Media, m: str, i: int) -> str:
    """Say whether there is no cell, or one that the run could not read or was to do without."""
    row = int(media.rows[i])
    there = m in media.cells and row >= 0 and media.cells[m].filled[row]
    return "there, but left out of this run" if there else "missing"


def _image(cell: Any, modality: Modality) -> str:
    return _picture(ImageReader(SIDE).read(cell), modality.said)


def _video(cell: Any, modality: Modality) -> str:
    return _picture(np.concatenate([*VideoReader(FRAMES, SIDE).read(cell)], axis=1), modality.said)


def _picture(pixels: NDArray[np.uint8], said: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=72)
    height, width = pixels.shape[:2]
    return (
        f'<img src="{_data("image/webp", file)}" width={width} height={height} alt="{said}" decoding=async>'
    )


def _audio(cell: Any, modality: Modality) -> str:
    assert isinstance(modality.reader, AudioReader)
    wave = AudioReader(RATE, min(SECONDS, modality.reader.seconds)).read(cell)
    file = io.BytesIO()
    # The one format that every browser plays.
    soundfile.write(file, wave, RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.9)
    source = _data("audio/mpeg", file)
    return f'<audio controls preload=none src="{source}" aria-label="{modality.said}"></audio>'


def _text(cell: Any, modality: Modality) -> str:
    text = " ".join(text_of(cell, silent).split())
    return f"<blockquote>{escape(text[:LETTERS])}{'…' * (len(text) > LETTERS)}</blockquote>"


def _vector(cell: Any, modality: Modality) -> str:
    values = modality.reader.read(cell)
    if len(values) == len(modality.columns) <= FEW_NUMBERS:
        figures = (number(v) if isfinite(v) else "–" for v in values.tolist())
        pairs = zip(modality.columns, figures, strict=True)
        return f"<dl>{''.join(f'<dt>{escape(c)}<dd>{v}' for c, v in pairs)}</dl>"
    assert modality.scale is not None
    mean, deviation = modality.scale
    away = np.nan_to_num((values - mean) / deviation).clip(-MOST_AWAY, MOST_AWAY)
    # A long vector is drawn by the means of as many parts as there are pixels.
    means = [float(part.mean()) for part in np.array_split(away, min(len(away), 240))]
    step, middle = 236 / max(1, len(means) - 1), 24.0
    points = [(2 + step * i, middle * (1 - v / (MOST_AWAY + 0.2))) for i, v in enumerate(means)]
    said = f"{len(values):,} numbers, in standard deviations from the mean of these samples"
    shapes: list[Shape] = [Line([(2, middle), (238, middle)], "line"), Line(points, "c0", 1.5, title=said)]
    return f"{Drawing('', modality.name, 240, 2 * middle, said, shapes).svg()}<small>{said}</small>"


def _scale(reader: Reader, cells: Cells, rows: NDArray[np.int64]) -> Scale | None:
    """Return mean and standard deviation of some rows' vectors, None without any."""
    if reader.type != "vector":
        return None
    given = (cells[int(row)] for row in rows if row >= 0)
    found = (read_cell(reader, cell)[0] for cell in given if cell is not None)
    vectors = [v for v in found if v is not None]
    if not vectors:
        return None
    numbers = np.ma.masked_invalid(vectors)  # of a number that none of them has nothing is known
    deviation = numbers.std(axis=0).filled(0.0)
    return numbers.mean(axis=0).filled(np.nan), np.where(deviation > 0, deviation, 1.0)


def _data(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


# By the type of a modality.
SHOW: dict[str, Callable[[Any, Modality], str]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "text": _text,
    "vector": _vector,
}
