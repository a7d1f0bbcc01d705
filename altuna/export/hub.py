"""Push a model to the Hugging Face hub, with a model card made from the run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData

from altuna.errors import UserError
from altuna.files import write_text
from altuna.runs.description import Description
from altuna.runs.directory import read_metrics
from altuna.runs.hub import PREFIX
from altuna.runs.predictor import Predictor
from altuna.runs.weights import save_model
from altuna.text import markdown_table, markdown_text, one_line


def push_to_hub(run: str | Path, repo: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload the model of a run to the Hugging Face hub, with a model card, and return its address.

    The data and the options of the run (which may contain names of your files) are not uploaded.

    Args:
        run: The run directory.
        repo: ``ORG/NAME`` on the hub. If this repository does not exist, it is created.
        private: Whether a new repository is private.
        token: Access token of the hub. None: the token of your login.

    Raises:
        UserError: ``run`` is not a run directory, or the upload fails.

    Example:
        >>> import altuna
        >>> altuna.push_to_hub("runs/first", "ORG/NAME", private=True)  # doctest: +SKIP
        >>> model = altuna.load("hf:ORG/NAME")  # doctest: +SKIP
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
    """Write the files that ``altuna.load`` reads and a model card, without the run's data and options."""
    encoders = {name: {**of, **_called(of)} for name, of in predictor.description.encoders.items()}
    description = replace(predictor.description, encoders=encoders)
    save_model(folder, description, predictor.model)
    write_text(folder / "README.md", model_card(run, description, repo))


def _called(encoder: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of an encoder that was loaded from a local folder, without the path of that folder."""
    name = str(encoder.get("name"))
    folder = Path(name.removeprefix(PREFIX))
    is_local = name.startswith(PREFIX) and (folder.is_absolute() or folder.is_dir())
    return {"name": PREFIX + folder.name} if is_local else {}


def model_card(run: Path, description: Description, repo: str = "ORG/NAME") -> str:
    """Return the model card of a run: metrics, data, modalities, fusion, use and limits."""
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
    alone = [(f"{name} alone", values) for name, values in metrics["modalities"].items() if values["n"]]
    fused = ("fused", {**metrics["fused"], "n": metrics["n"]})
    rows = [(name, *(f"{of[c]:.3f}" for c in columns), of["n"]) for name, of in (fused, *alone)]
    parts = [
        (name, reader.type, _settings(reader.settings()), description.encoders[name].get("name") or "default")
        for name, reader in description.readers.items()
    ]
    shown = ", ".join(f'"{name}": ...' for name in description.readers)
    subsets = [(name, f"{of['accuracy']:.3f}", of["n"]) for name, of in metrics.get("subsets", {}).items()]
    return _CARD.format(
        data=markdown_text(Path(metrics["data"]).name),
        method=markdown_text(metrics["method"]),
        count=len(description.classes),
        classes=markdown_text(", ".join(description.classes[:50]))
        + (", ..." if len(description.classes) > 50 else ""),
        metrics=_table(("", "accuracy", "macro-F1", "NLL", "ECE", "samples"), rows),
        subsets=_table(("modalities", "accuracy", "samples"), subsets),
        modalities=_table(("modality", "type", "reader settings", "encoder"), parts, left=4),
        rule=metrics["fusion"]["rule"],
        split=metrics["split"],
        n=f"{metrics['n']:,}",
        trained=f"{metrics['training'].get('stream', metrics['training']['n']):,}",
        repo=repo,
        sample=shown.replace("`", "'"),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    return "\n".join(markdown_table(header, rows, left=left))


def _settings(settings: dict[str, Any]) -> str:
    """Return the settings of a reader, without vocabularies and tokenizers, which are long."""
    return ", ".join(f"{k} {v}" for k, v in settings.items() if isinstance(v, int | float))


_CARD = """\
# {data}: {method}

A classifier with {count} classes, made with altuna. It predicts from any subset of its modalities.
Classes: {classes}

## Metrics

On the {split} split, {n} samples; trained on {trained} samples.

{metrics}

With each subset of the modalities:

{subsets}

## Modalities

{modalities}

Fusion: `{rule}`. Each modality predicts by itself; fusion combines the predictions of the modalities that a
sample has.

## Use

```python
import altuna

model = altuna.load("hf:{repo}")
model.predict([{{{sample}}}])  # any subset of them: paths, bytes, arrays, texts
```

`model.safetensors` holds the weights by name (`encoders.I` is the encoder of modality I in the order above),
`config.json` describes readers and encoders. Nothing is unpickled.

## Limits

- The metrics hold for the data above, not for other data.
- A sample without any modality cannot be predicted.
- Confidence was calibrated on the validation split; on other data it may be wrong.
"""
