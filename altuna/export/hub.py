"""Models on the Hugging Face hub: pushed with a card made from the run, and loaded again."""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from altuna.errors import UserError
from altuna.files import write_text
from altuna.runs.description import Description, save_model
from altuna.runs.directory import read_metrics
from altuna.runs.hub import PREFIX
from altuna.runs.predictor import Predictor
from altuna.text import one_line


def push_to_hub(run: str | Path, repo: str, *, private: bool = False, token: str | None = None) -> str:
    """Push a run's model and a card made from the run to the Hugging Face hub, and return its address.

    Neither the run's data nor its options, which may name your files, are pushed.

    Args:
        run: The run directory.
        repo: ``ORG/NAME`` on the hub; made if it is not there.
        private: Whether a new one is for yourself only.
        token: Of the hub; the one that you logged in with when None.

    Raises:
        UserError: Not a run, or the hub refuses.
    """
    predictor = Predictor(run, device="cpu")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        write_loadable(Path(folder), Path(run), predictor, repo)
        try:
            repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
            return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message="altuna model"))
        except Exception as error:  # its own, or those of whichever HTTP library it uses
            raise UserError(f"{repo}: cannot be pushed: {one_line(error)}") from None


def write_loadable(folder: Path, run: Path, predictor: Predictor, repo: str = "ORG/NAME") -> None:
    """Write what ``altuna.load`` reads, with a model card: neither the run's data nor its options."""
    encoders = {name: {**of, **_called(of)} for name, of in predictor.description.encoders.items()}
    description = replace(predictor.description, encoders=encoders)
    save_model(folder, description, predictor.model)
    write_text(folder / "README.md", model_card(run, description, repo))


def _called(encoder: dict[str, Any]) -> dict[str, str]:
    """Return the name of an encoder from a local folder without where that is: it is not read again."""
    name = str(encoder.get("name"))
    folder = Path(name.removeprefix(PREFIX))
    is_local = name.startswith(PREFIX) and (folder.is_absolute() or folder.is_dir())
    return {"name": PREFIX + folder.name} if is_local else {}


def model_card(run: Path, description: Description, repo: str = "ORG/NAME") -> str:
    """Return the model card of a run: figures, data, modalities, fusion, use and limits."""
    metrics = read_metrics(run)
    data = ModelCardData(
        library_name="altuna",
        tags=["multimodal", "missing-modalities", *sorted({r.type for r in description.readers.values()})],
        model_name=f"{Path(metrics['data']).name}: {metrics['method']}",
        eval_results=[
            EvalResult(
                task_type="multimodal-classification",
                dataset_type=re.sub(r"[^\w.-]+", "-", Path(metrics["data"]).stem),
                dataset_name=Path(metrics["data"]).name,
                dataset_split=metrics["split"],
                metric_type=name,
                metric_value=round(value, 4),
            )
            for name, value in metrics["fused"].items()
            if isinstance(value, int | float)
        ],
    )
    content = f"---\n{data.to_yaml()}\n---\n\n{_body(metrics, description, repo)}"
    return str(ModelCard(content, ignore_metadata_errors=False))


def _body(metrics: dict[str, Any], description: Description, repo: str) -> str:
    columns = ("accuracy", "macro_f1", "nll", "ece")
    alone = [(f"{name} alone", figures) for name, figures in metrics["modalities"].items() if figures["n"]]
    figures = [("fused", {**metrics["fused"], "n": metrics["n"]}), *alone]
    rows = [(name, *(f"{of[c]:.3f}" for c in columns), of["n"]) for name, of in figures]
    parts = [
        (name, reader.type, _settings(reader.settings()), description.encoders[name].get("name") or "default")
        for name, reader in description.readers.items()
    ]
    shown = ", ".join(f'"{name}": ...' for name in description.readers)
    subsets = [(name, f"{of['accuracy']:.3f}", of["n"]) for name, of in metrics.get("subsets", {}).items()]
    return _CARD.format(
        data=_plain(Path(metrics["data"]).name),
        method=_plain(metrics["method"]),
        count=len(description.classes),
        classes=_plain(", ".join(description.classes[:50]))
        + (", ..." if len(description.classes) > 50 else ""),
        figures=_table(("", "accuracy", "macro-F1", "NLL", "ECE", "samples"), rows),
        subsets=_table(("from", "accuracy", "samples"), subsets),
        modalities=_table(("modality", "type", "read as", "encoder"), parts),
        rule=metrics["fusion"]["rule"],
        split=metrics["split"],
        n=f"{metrics['n']:,}",
        trained=f"{metrics['training'].get('stream', metrics['training']['n']):,}",
        repo=repo,
        sample=shown.replace("`", "'"),
    )


def _settings(settings: dict[str, Any]) -> str:
    """Show the settings of a reader but vocabularies and tokenizers, which are long."""
    return ", ".join(f"{k} {v}" for k, v in settings.items() if isinstance(v, int | float))


def _table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [[*header], *([*row] for row in rows)]
    written = ["| " + " | ".join(_plain(str(cell)) for cell in line) + " |" for line in lines]
    return "\n".join([written[0], "|" + " --- |" * len(lines[0]), *written[1:]])


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would take for its own; one line."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


_CARD = """\
# {data}: {method}

A classifier of {count} classes that takes any of its modalities, made with altuna.
Classes: {classes}

## Figures

On the {split} split, {n} samples; trained on {trained}.

{figures}

By the modalities that are given:

{subsets}

## Modalities

{modalities}

Fusion: `{rule}`. Each modality classifies what it sees; the fusion weighs them sample by sample, and what
is absent is left out.

## Use

```python
import altuna

model = altuna.load("hf:{repo}")
model.predict([{{{sample}}}])  # any of them: paths, bytes, arrays, texts
```

`model.safetensors` has the weights by name (`encoders.I` is the encoder of modality I in the order above),
`config.json` how readers and encoders are built. Nothing is unpickled.

## Limits

- The figures are of the data above, and say nothing of other data.
- A sample without any modality cannot be predicted.
- Confidence was calibrated on the validation split; on other data it may be off.
"""
