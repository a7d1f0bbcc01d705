"""The run directory: what a training leaves behind, and how a model comes back from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from altuna.data.readers import READERS, Reader
from altuna.encoders import build
from altuna.errors import UserError
from altuna.files import replacing, write_json
from altuna.model import Impute, MultimodalClassifier

FORMAT = 2
LONGEST_LABEL = 80  # letters of what tells a run from others
# What metrics.json of every run has, that others read.
FIGURES = (
    *("data", "method", "seed", "split", "n", "modalities", "fused", "fusion"),
    *("imbalance", "rates", "subsets", "training", "cost"),
)


@dataclass(frozen=True)
class Description:
    """All that is needed to build a model again, JSON-ready (``config.json``)."""

    method: str
    classes: tuple[str, ...]
    head: str
    fusion: str
    fixed_weights: dict[str, float]
    readers: dict[str, Reader]
    encoders: dict[str, dict[str, Any]]
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    impute: Impute = "zero"

    def to_json(self) -> dict[str, Any]:
        """Return what ``config.json`` holds."""
        return {
            "format": FORMAT,
            "method": self.method,
            "classes": [*self.classes],
            "head": self.head,
            "fusion": self.fusion,
            "fixed_weights": self.fixed_weights,
            "impute": self.impute,
            "modalities": {
                name: {
                    "type": reader.type,
                    "columns": [*self.columns.get(name, ())],
                    "reader": {"name": reader.name, **reader.settings()},
                    "encoder": self.encoders[name],
                }
                for name, reader in self.readers.items()
            },
        }

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Description:
        """Rebuild the description from ``config.json``'s contents."""
        modalities = config["modalities"]
        return cls(
            config["method"],
            tuple(config["classes"]),
            config["head"],
            config["fusion"],
            config["fixed_weights"],
            {n: _reader(**m["reader"]) for n, m in modalities.items()},
            {n: m["encoder"] for n, m in modalities.items()},
            {n: tuple(m.get("columns", ())) for n, m in modalities.items()},
            config.get("impute", "zero"),
        )

    def build_model(self) -> MultimodalClassifier:
        """Return a new model with random weights."""
        try:
            encoders = {
                name: build(name, reader, **self.encoders[name]) for name, reader in self.readers.items()
            }
            return MultimodalClassifier(
                encoders,
                len(self.classes),
                head=self.head,
                fusion=self.fusion or None,
                fixed_weights=self.fixed_weights,
                impute=self.impute,
            )
        except UserError:
            raise
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            raise UserError(f"cannot build the model: {error}") from None


def save_model(run: Path, description: Description, model: MultimodalClassifier) -> None:
    """Write ``model.safetensors`` and ``config.json``."""
    with replacing(run / "model.safetensors") as unfinished:
        # Not by save_file: on a full disk it raises no OSError.
        unfinished.write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    write_json(run / "config.json", description.to_json())


def load_model(run: Path) -> tuple[Description, MultimodalClassifier]:
    """Load a model for inference; nothing is unpickled.

    Raises:
        UserError: Not a finished run directory, of another version, or damaged.
    """
    config = read_json(run, "config.json")
    if config.get("format") != FORMAT:
        raise UserError(
            f"{run / 'config.json'}: format {config.get('format')!r} is of another version of altuna; "
            f"this one reads format {FORMAT}"
        )
    path = run / "model.safetensors"
    try:
        description = Description.from_json(config)
        model = description.build_model()
        model.load_state_dict(load_file(path))
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: does not hold this run's model: {reason}") from None
    return description, model.eval()


def read_json(run: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of a run directory."""
    path = run / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        reason = f"not a finished run: no {name}" if run.is_dir() else "no such run directory"
        if run.is_file():
            reason = "is a file, not a run directory"
        if str(run).startswith("hf:"):
            reason = "a model of the hub has no figures, data or predictions; name a run directory"
        raise UserError(f"{run}: {reason}") from None
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object")
    return content


def read_config(run: Path) -> dict[str, Any]:
    """Read ``config.yaml``, the options of the run."""
    path = run / "config.yaml"
    config = read_yaml(path)
    if lacking := [name for name in ("data", "method", "modalities", "seed") if name not in config]:
        raise UserError(f"{path}: not the options of a run: no {lacking[0]!r}")
    if not isinstance(config["method"], dict) or "name" not in config["method"]:
        raise UserError(f"{path}: not the options of a run: 'method' has no name")
    return config


def read_metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json``, the figures of a finished run."""
    metrics = read_json(run, "metrics.json")
    if lacking := [name for name in FIGURES if name not in metrics]:
        raise UserError(f"{run / 'metrics.json'}: not the figures of a run: no {lacking[0]!r}")
    return metrics


def run_labels(
    configs: Sequence[Mapping[str, Any]], folders: Sequence[str], *, joined: bool = False
) -> list[str]:
    """Name what runs have trained: the method, and whatever tells a run from some other but its seed.

    Where that is much, as on other data, the run's folder stands for it or, if runs that differ by nothing
    but the seed are joined, that of the first of them.
    """
    options = [*map(_options, configs)]
    first: dict[str, str] = {}
    labels = []
    for config, mine, folder in zip(configs, options, folders, strict=True):
        told = {name: value for name, value in mine.items() if any(o.get(name) != value for o in options)}
        more = ", ".join(f"{name}={value}" for name, value in told.items() if value is not None)
        label = f"{config['method']['name']} ({more})" if more else str(config["method"]["name"])
        if len(label) > LONGEST_LABEL:
            label = first.setdefault(label if joined else folder, f"{config['method']['name']} ({folder})")
        labels.append(label)
    return labels


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's options, those of its method among them, without what it is called by."""
    own = {name: value for name, value in config["method"].items() if name != "name"}
    return {n: v for n, v in config.items() if n not in ("data", "root", "seed", "method")} | own


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of options")
    return content


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number and ``off`` a word, as everywhere but in YAML 1.1."""


_Loader.yaml_implicit_resolvers = {
    first: [r for r in resolvers if r[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """Parse YAML; nothing is executed.

    Raises:
        yaml.YAMLError: The text is not YAML.
    """
    return yaml.load(text, _Loader)


def _reader(name: str, **settings: Any) -> Reader:
    return READERS[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
