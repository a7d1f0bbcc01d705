"""The page itself, by Gradio."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from altuna.data.readers import Reader
from altuna.demo.answer import answer
from altuna.demo.samples import Sampler
from altuna.predictor import Predictor

CLASSES = 10  # that are shown
_CSS = """
.opinions { overflow-x: auto; }
.opinions table { width: 100%; border-collapse: collapse; }
.opinions th, .opinions td { text-align: left; padding: 0.3rem 0.6rem; }
.opinions td:nth-child(2) { overflow-wrap: break-word; min-width: 7rem; max-width: 20rem; }
.opinions .bar { display: inline-block; width: 4rem; height: 0.6rem; background: #8884; }
@media (max-width: 40rem) { .opinions .bar { display: none; } .opinions td { padding: 0.3rem; } }
.opinions .bar span { display: block; height: 100%; background: var(--color-accent); }
.problem { padding: 0.6rem; border-left: 4px solid #c33; background: #c332; overflow-wrap: anywhere; }
"""


def page(predictor: Predictor, run: str, draw: Sampler | None) -> gr.Blocks:
    """Return the page of a model: an input a modality, and what the model makes of them.

    Args:
        predictor: The model with its readers.
        run: What it is called.
        draw: Draws the samples of the example button, which is left out when None.
    """
    description = predictor.description

    def predict(*cells: Any) -> tuple[Any, str, str]:
        probabilities, opinions, message = answer(
            predictor, dict(zip(predictor.modalities, cells, strict=True))
        )
        return probabilities, opinions, message

    # Files that were given are forgotten after an hour: the demo may run for weeks.
    title = f"altuna: {Path(run).name}"
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        name = html.escape(Path(run).name)
        gr.HTML(f"<h1>{name}</h1><p>Leave out whatever you do not have; nothing leaves this machine.</p>")
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
                probabilities = gr.Label(label="Prediction", num_top_classes=CLASSES)
                opinions = gr.HTML(elem_classes="opinions", elem_id="opinions")
        answers = [probabilities, opinions, message]
        # Enter in a line asks as well; in several lines it begins the next.
        asked = [go.click, *(i.submit for i in inputs if isinstance(i, gr.Textbox))]
        gr.on(asked, predict, inputs, answers, api_name="predict")
        clear.add([*answers, truth])
        if draw is not None:

            def show() -> Any:
                label, given = draw()
                cells = [given.get(m) for m in predictor.modalities]
                said = f"<p>A sample of the test split. Its class: <b>{html.escape(label)}</b>.</p>"
                return [*cells, None, "", "", said]

            example.click(show, None, [*inputs, *answers, truth], api_visibility="private")
    blocks.queue(default_concurrency_limit=1, max_size=100)
    return blocks


def start(blocks: gr.Blocks, host: str, port: int, max_upload: str) -> None:
    """Listen, and return; no share link, no fonts or links from elsewhere, no telemetry."""
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
    )


def _input(name: str, place: str, reader: Reader) -> Any:
    """Return the input of a modality; of files it gives the path: our readers say what is wrong with one."""
    if reader.type not in ("image", "audio", "video"):
        size = reader.shape[0]
        several = "numbers, with commas between, or JSON"
        hint = "a text" if reader.type == "text" else "a number" if size == 1 else f"{size} {several}"
        return gr.Textbox(label=name, elem_id=place, lines=1 if hint == "a number" else 2, placeholder=hint)
    component: Any
    if reader.type == "image":
        component = gr.Image(label=name, elem_id=place, sources=["upload", "clipboard"], height=240)
    elif reader.type == "audio":
        # Without the button that uploads the sound to a forum, to share it.
        sources: Any = ["upload", "microphone"]
        component = gr.Audio(label=name, elem_id=place, sources=sources, buttons=["download"])
    else:
        component = gr.Video(label=name, elem_id=place, sources=["upload"], height=240)
    component.preprocess = lambda payload: (
        payload and payload.path
    )  # of a subclass there would be no frontend
    return component
