"""Build and serve the page, with Gradio."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import Request
from fastapi.responses import JSONResponse

from altuna.data.readers import Reader
from altuna.data.table.paths import SUFFIXES
from altuna.demo.answer import answer
from altuna.demo.samples import Sampler
from altuna.runs.predictor import Predictor

MAX_CLASSES = 10  # that are shown
_CSS = """
h1, #truth, .prediction, .opinions td, .problem { overflow-wrap: anywhere; }
.prediction .confidence, .opinions td:nth-child(n+3) { white-space: nowrap; }
.opinions { overflow-x: auto; }
.opinions table { width: 100%; border-collapse: collapse; }
.opinions th, .opinions td { text-align: left; padding: 0.3rem 0.6rem; }
.opinions td:nth-child(-n+2) { min-width: 5rem; }
.opinions .bar { display: inline-block; width: 3rem; height: 0.6rem; background: #8884; }
.opinions .bar span { display: block; height: 100%; background: var(--color-accent); }
.problem { padding: 0.6rem; border-left: 4px solid #c33; background: #c332; }
@media (max-width: 40rem) {
  .opinions .bar { display: none; }
  .opinions table { font-size: 0.85em; }
  .opinions th, .opinions td { padding: 0.25rem; }
  .opinions td:nth-child(-n+2) { min-width: 4.7rem; }
}
"""


def page(predictor: Predictor, run: str, draw: Sampler | None) -> gr.Blocks:
    """Return the page of a model: an input for each modality, and the prediction.

    Args:
        predictor: The model with its readers.
        run: Name of the run.
        draw: Draws the samples of the example button; None: no button.
    """
    description = predictor.description
    # Gradio calls from up to 40 threads; each that ran the model would keep PyTorch's memory and threads.
    worker = ThreadPoolExecutor(1)

    def predict(*cells: Any) -> tuple[Any, str, str]:
        given = dict(zip(predictor.modalities, cells, strict=True))
        probabilities, opinions, message = worker.submit(answer, predictor, given).result()
        return probabilities, opinions, message

    # Uploads are deleted after an hour: the demo may run for weeks.
    title = f"altuna: {Path(run).name}"
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        name = html.escape(Path(run).name)
        gr.HTML(f"<h1>{name}</h1><p>Fill in one or more inputs. Your data stay on this machine.</p>")
        with gr.Row():
            with gr.Column():
                inputs = [
                    _input(m, f"input-{i}", description.readers[m])
                    for i, m in enumerate(predictor.modalities)
                ]
                with gr.Row():
                    go = gr.Button("Predict", variant="primary")
                    clear = gr.ClearButton(inputs)
                    example = gr.Button("Example from the test split", visible=draw is not None)
                truth = gr.HTML(elem_id="truth")
            with gr.Column():
                message = gr.HTML(elem_id="message")
                probabilities = gr.Label(
                    label="Prediction", num_top_classes=MAX_CLASSES, elem_classes="prediction"
                )
                opinions = gr.HTML(elem_classes="opinions", elem_id="opinions")
        answers = [probabilities, opinions, message]
        asked = [go.click, *(i.submit for i in inputs if isinstance(i, gr.Textbox))]
        gr.on(asked, predict, inputs, answers, api_name="predict")
        clear.add([*answers, truth])
        if draw is not None:

            def show() -> list[Any]:
                return _example(draw, predictor.modalities)

            example.click(show, None, [*inputs, *answers, truth], api_visibility="private")
    proceed = blocks.preprocess_data

    async def preprocess(event: Any, cells: list[Any], *rest: Any, **named: Any) -> Any:
        return await proceed(event, _checked(event.inputs, cells), *rest, **named)

    blocks.preprocess_data = preprocess  # before Gradio fetches or opens anything
    blocks.queue(default_concurrency_limit=1, max_size=100)
    return blocks


def _example(draw: Sampler, modalities: Sequence[str]) -> list[Any]:
    """Return the cells of an example, an empty answer, and a remark on the example."""
    label, given, left_out = draw()
    note = f"Example from the test split. True class: <b>{html.escape(label)}</b>."
    if left_out:
        why = "unreadable, or part of a longer file"
        note += f" Left out ({why}): {html.escape(', '.join(left_out))}."
    return [*(given.get(m) for m in modalities), None, "", "", f"<p>{note}</p>"]


def start(blocks: gr.Blocks, host: str, port: int, max_upload: str) -> None:
    """Start to listen, and return; without share link, external fonts or links, and telemetry."""
    fonts = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=max_upload,
        state_session_capacity=100,
        theme=fonts,
        css=_CSS,
        app_kwargs={"exception_handlers": {KeyError: _unknown}},
    )


def _unknown(request: Request, error: Exception) -> JSONResponse:
    """Answer a request for an unknown function; otherwise its stack trace fills the terminal."""
    return JSONResponse({"detail": f"no {error} at {request.url.path}"}, 404)


def _checked(inputs: list[Any], cells: list[Any]) -> list[Any]:
    """Return a client's inputs if they are uploads and texts.

    Otherwise Gradio fetches URLs, accepts any path of this machine as an image if ``meta`` is left out, and
    prints a stack trace for a wrong type.

    Raises:
        gr.Error: An input is something else; the client sees the message.
    """
    names = [place.label.strip() for place in inputs]
    if len(cells) != len(names):
        message = f"give {len(names)} inputs ({', '.join(names)}), not {len(cells)}"
        raise gr.Error(message, print_exception=False)
    checked = []
    for name, place, cell in zip(names, inputs, cells, strict=True):
        if isinstance(place, gr.Textbox):
            if not (cell is None or isinstance(cell, str)):
                raise gr.Error(f"{name!r}: give a string", print_exception=False)
        elif cell is not None:
            several = isinstance(cell, list) and getattr(place, "file_count", "") == "multiple"
            files = [_file(name, one, place.GRADIO_CACHE) for one in (cell if several else [cell])]
            cell = files if several else files[0]
        checked.append(cell)
    return checked


def _file(name: str, given: Any, folder: str) -> dict[str, Any]:
    """Return an upload as Gradio takes it; raise gr.Error if it is none."""
    path = given.get("path") if isinstance(given, dict) else None
    if not (isinstance(path, str) and _is_upload(path, folder)):
        message = f"{name!r}: give a file that was uploaded within the last hour, not a URL or path"
        raise gr.Error(message, print_exception=False)
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def _is_upload(path: str, folder: str) -> bool:
    # Not Path.is_file, which raises an OSError if the name is too long.
    return os.path.isfile(path) and Path(path).resolve().is_relative_to(Path(folder).resolve())


def _input(name: str, place: str, reader: Reader) -> Any:
    """Return the input of a modality; of files it gives the path: our readers say what is wrong with one."""
    label = f" {name}"  # 'image' itself is the name of some of Gradio's translations, and it warns
    if reader.type not in ("image", "image_list", "audio", "video", "series"):
        size = reader.shape[0]
        several = "numbers, with commas between, or JSON"
        hint = "a text" if reader.type == "text" else "a number" if size == 1 else f"{size} {several}"
        # Of one line to begin with: Enter predicts only then. Shift+Enter begins the next.
        return gr.Textbox(label=label, elem_id=place, lines=1, placeholder=hint)
    component: Any
    if reader.type == "image":
        component = gr.Image(label=label, elem_id=place, sources=["upload", "clipboard"], height=240)
    elif reader.type == "audio":
        # Without the button that uploads the sound to a forum, to share it.
        sources: Any = ["upload", "microphone"]
        component = gr.Audio(label=label, elem_id=place, sources=sources, buttons=["download"])
    elif reader.type == "image_list":
        endings = sorted(SUFFIXES["image"])
        component = gr.File(label=label, elem_id=place, file_types=endings, file_count="multiple")
        component.preprocess = lambda payload: payload and [file.path for file in payload.root]
        return component
    elif reader.type == "series":
        # A row a step, a column a channel; the reader says how many there must be.
        component = gr.File(label=label, elem_id=place, file_types=[*SUFFIXES["series"], ".npy"])
    else:
        component = gr.Video(label=label, elem_id=place, sources=["upload"], height=240)
    component.preprocess = lambda payload: (
        payload and payload.path
    )  # of a subclass there would be no frontend
    return component
