"""Malformed files of a run directory: each is one line that names the file and the key."""

import json
import time

import command
import pytest
import yaml
from edits import HUGE, INFINITE, MISSING, NAN, cases, edit_json, put, refused

import altuna
from altuna.export.export import export
from altuna.hardware import peak_memory, reset_peak_memory
from altuna.report import write_report
from altuna.runs.evaluate import evaluate_run

# config.json

CONFIG = [
    ("format", "2"),
    ("format", MISSING),
    ("format", 2),
    ("method", MISSING),
    ("method", 3),
    ("method", ""),
    ("classes", MISSING),
    ("classes", []),
    ("classes", "abc"),
    ("classes", {"c0": 1}),
    ("classes.1", 7),
    ("classes.1", "c0"),
    ("head", None),
    ("head", "sharp"),
    ("fusion", 1),
    ("fusion", "guess"),
    ("fixed_weights", []),
    ("fixed_weights", {"a": "1"}),
    ("fixed_weights", {"a": -1}),
    ("fixed_weights", {"a": NAN}),
    ("fixed_weights", {"a": INFINITE}),
    ("fixed_weights", {"z": 1}),
    ("fixed_weights", {"a": 0, "b": 0, "text": 0}),
    ("impute", "median"),
    ("impute", "mean"),  # which this head cannot
    ("modalities", MISSING),
    ("modalities", {}),
    ("modalities", []),
    ("modalities.a", 3),
    ("modalities.a.type", MISSING),
    ("modalities.a.type", 3),
    ("modalities.a.type", "image"),
    ("modalities.a.columns", "a_0"),
    ("modalities.a.columns.0", 0),
    ("modalities.a.reader", MISSING),
    ("modalities.a.reader", "vector"),
    ("modalities.a.reader", {}),
    ("modalities.a.reader.name", "vektor"),
    ("modalities.a.reader.name", ["vector"]),
    ("modalities.a.reader.size", MISSING),
    ("modalities.a.reader.size", "2"),
    ("modalities.a.reader.size", True),
    ("modalities.a.reader.size", 2.5),
    ("modalities.a.reader.size", 0),
    ("modalities.a.reader.size", -2),
    ("modalities.a.reader.size", HUGE),
    ("modalities.a.reader.size", 10**30),
    ("modalities.a.reader.sizes", 2),
    ("modalities.text.reader.vocabulary", "word"),
    ("modalities.text.reader.vocabulary.0", 3),
    ("modalities.text.reader.length", HUGE),
    ("modalities.a.encoder", MISSING),
    ("modalities.a.encoder", [1]),
    ("modalities.a.encoder.name", "mpl"),
    ("modalities.a.encoder.name", 3),
    ("modalities.a.encoder.weights", "weights.pt"),
    ("modalities.a.encoder.hidden", "8"),
    ("modalities.a.encoder.hidden", 0),
    ("modalities.a.encoder.hidden", -8),
    ("modalities.a.encoder.hidden", HUGE),
    ("modalities.a.encoder.dropout", NAN),
    ("modalities.a.encoder.dropout", 2),
    ("modalities.a.encoder.lr", -1),
    ("modalities.a.encoder.transforms", 3),
    ("modalities.a.encoder.transforms", {"vector_noise": {"std": "a"}}),
    ("modalities.a.encoder.front_end", {"name": 3}),
    ("modalities.a.encoder.size", 3),
    ("more", 1),
    ("modalities.a.more", 1),
]


# Told by the encoder's own signature or by the shapes of the weights.
BY_SIGNATURE = ("modalities.a.encoder.name", "modalities.a.encoder.hidden")


@pytest.mark.parametrize(("key", "value"), cases(CONFIG))
def test_config_json(key, value, run):
    edit_json(run / "config.json", key, value)
    before = time.perf_counter()
    *_, name = (part for part in key.split(".") if not part.isdigit())
    refused(lambda: altuna.load(run, "cpu"), "config.json", *(() if key in BY_SIGNATURE else (name,)))
    assert time.perf_counter() - before < 5


@pytest.mark.parametrize(
    ("name", "type", "options"),
    [
        ("mlp", "vector", {"hidden": 1 << 24, "out_features": 1 << 24}),
        ("text_small", "text", {"dimension": 1 << 24}),
        ("vit", "image", {"depth": HUGE >> 8}),
        ("vit", "image", {"dimension": 3 << 22}),
        ("m3ae_base", "image", {"dimension": 1 << 22, "depth": 1 << 23}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_sizes_that_the_weights_do_not_have(name, type, options, run):
    """Widths and depths of a billion are refused before anything of that size is allocated."""
    content = json.loads((run / "config.json").read_text())
    readers = {"image": {"name": "image", "size": 64}, "vector": {"name": "vector", "size": 2}}
    reader = readers.get(type, content["modalities"]["text"]["reader"])
    content["modalities"] = {"a": {"type": type, "reader": reader, "encoder": {"name": name, **options}}}
    (run / "config.json").write_text(json.dumps(content))
    if name == "vit":
        import transformers.models.vit.modeling_vit  # noqa: F401 (not what is timed)
    reset_peak_memory()
    start, before = peak_memory(), time.perf_counter()
    refused(lambda: altuna.load(run, "cpu"), "run/")
    assert time.perf_counter() - before < 5
    assert peak_memory() - start < 300e6


def test_ten_million_classes(run):
    """More classes than there are weights for."""
    edit_json(run / "config.json", "classes", [f"c{i}" for i in range(100_000)])
    refused(lambda: altuna.load(run, "cpu"), "model.safetensors", "prior", "100000")


# metrics.json


def leaves(content, key=()):
    """Yield the keys of all values, and of one value in each list, in parts."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield (*key, name)
            yield from leaves(value, (*key, name))
    elif isinstance(content, list):
        for i, value in enumerate(content[:1]):
            yield from leaves(value, (*key, i))


def test_every_key_of_the_metrics_has_a_type(run):
    """A value of another type is refused wherever it stands, and so is a key that is missing."""
    text = (run / "metrics.json").read_text()
    lists = ("training", "remarks"), ("training", "shared_temperature"), ("warnings",)
    keys = [key for key in leaves(json.loads(text)) if not str(key[-1]).startswith("calibrated_")]
    assert len(keys) > 150
    for key in keys:
        for wrong in ({"x": ["y"]}, *[["x"]] * (key not in lists), *[MISSING] * (len(key) == 1)):
            content = json.loads(text)
            put(content, key, wrong)
            (run / "metrics.json").write_text(json.dumps(content))
            refused(lambda: write_report([run]), "metrics.json", key[0])


METRICS = [
    ("n", 0),
    ("n", -15),
    ("n", 15.5),
    ("n", 16),  # predictions.parquet has 15 rows
    ("n", 10**400),
    ("seed", -1),
    ("seed", "0"),
    ("split", "tests"),
    ("split", None),
    ("data", ""),
    ("fused.accuracy", NAN),
    ("fused.accuracy", 1.2),
    ("fused.accuracy", None),
    ("fused.nll", "0.1"),
    ("fused.ece", "0.1"),
    ("imbalance.gap", None),
    ("modalities", {}),
    ("modalities.a", MISSING),
    ("modalities.z", {"n": 0, "accuracy": None, "macro_f1": None, "nll": None, "ece": None}),
    ("modalities.a.n", -1),
    ("modalities.a.accuracy", None),
    ("fusion.rule", "guess"),
    ("fusion.temperatures.a", NAN),
    ("fusion.temperatures.a", 0),
    ("fusion.temperatures.a", -1),
    ("fusion.temperatures.a", INFINITE),
    ("imbalance.shapley.a", INFINITE),
    ("rates.0x", []),
    ("rates.9", [{"n": 0, "accuracy": None, "macro_f1": None, "nll": None, "ece": None}]),
    ("training.n", -1),
    ("training.classes.a.c0", "many"),
    ("cost.epochs", 0),
    ("cost.epochs", 1e3),
    ("cost.best_epoch", 1),
    ("cost.best_epoch", -1),
    ("cost.seconds", NAN),
    ("cost.parameters", 10**30),
    ("cost.peak_memory", -5),
]


@pytest.mark.parametrize(("key", "value"), cases(METRICS))
def test_metrics_json(key, value, run):
    edit_json(run / "metrics.json", key, value)
    refused(lambda: write_report([run]), "metrics.json", key.split(".")[0])


@pytest.mark.parametrize("value", [INFINITE, -INFINITE, NAN])
def test_losses_of_a_method_that_diverges_need_not_be_finite(value, run):
    for key in ("fused.nll", "modalities.a.nll", "fusion.rules.entropy.nll", "imbalance.gap"):
        edit_json(run / "metrics.json", key, value)
    assert write_report([run]).stat().st_size
    assert command.run("export", run, "--format=safetensors").code == 0


def test_export_and_evaluation_read_through_the_schemas_too(run):
    edit_json(run / "metrics.json", "split", ["test"])
    refused(lambda: export(run, "safetensors"), "metrics.json", "split")
    assert not (run / "export").exists() or not any((run / "export").iterdir())
    edit_json(run / "config.json", "classes.0", 3)
    refused(lambda: evaluate_run(run), "config.json", "classes.0")
    refused(lambda: altuna.load(run), "config.json", "classes.0")
    refused(lambda: write_report([run]), "metrics.json")


# config.yaml

OPTIONS = [
    ("data", MISSING),
    ("data", None),
    ("data", 3),
    ("data", ["a.csv"]),
    ("method", MISSING),
    ("method", "mla"),
    ("method", {}),
    ("method.name", 3),
    ("seed", MISSING),
    ("seed", -1),
    ("seed", "0"),
    ("seed", 1.5),
    ("seed", 1 << 70),
    ("seed", NAN),
    ("modalities", MISSING),
    ("modalities", "a"),
    ("modalities", {"a": 3}),
    ("modalities", {3: {}}),
    ("modalities", {"acc": {"type": []}}),
    ("modalities", {"acc": {"typ": "vector"}}),
    ("columns", ["id"]),
    ("columns", {"id": 3}),
    ("columns", {"labl": "x"}),
    ("root", 3),
]


@pytest.mark.parametrize(("key", "value"), cases(OPTIONS))
def test_config_yaml(key, value, run):
    content = yaml.safe_load((run / "config.yaml").read_text())
    put(content, key, value)
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    refused(lambda: evaluate_run(run), "config.yaml", key.split(".")[0])
    refused(lambda: write_report([run]), "config.yaml", key.split(".")[0])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a [1]\n"
        + "".join(
            f"{y}: &{y} [{', '.join([f'*{x}'] * 20)}]\n" for x, y in zip("abcdef", "bcdefg", strict=True)
        ),
        "date: 2026-13-45",
        "!!python/object/apply:os.system [ls]",
        "\x00",
        "{[1]: 2}",
    ],
    ids=["recursive", "aliases", "date", "python", "nul", "list as key"],
)
def test_yaml_that_is_none_of_ours(text, run):
    (run / "config.yaml").write_text(text)
    refused(lambda: evaluate_run(run), "config.yaml: cannot be read")
