"""What the documentation shows is true of the code."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from PIL import Image

import altuna
import altuna.data.table.manifest
from altuna.data.readers import READERS
from altuna.encoders import ENCODERS, build, hf, reader_of
from altuna.files import parse_yaml
from altuna.options import check_options, validate
from altuna.training.config import FitConfig

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_mathematics_of_the_readme_runs():
    block = next(b for b in blocks(README, "python") if "altuna.fuse" in b)
    names = {"altuna": altuna}
    exec(block, names)
    assert names["fusion"].weights.shape == (3, 8)


def test_the_configuration_in_the_documentation_is_valid():
    (block,) = blocks((ROOT / "docs" / "data.md").read_text(encoding="utf-8"), "yaml")
    options = yaml.safe_load(block)
    validate(FitConfig, options, "docs")
    kinds = {name: spec.get("type", "text") for name, spec in options["modalities"].items()}
    for name, settings in options["readers"].items():
        check_options(settings, READERS[kinds[name]].fit, name, beside=("cells",))
    encoders, pretrained = blocks((ROOT / "docs" / "encoders.md").read_text(encoding="utf-8"), "yaml")
    for shown in (parse_yaml(block), parse_yaml(encoders)):
        for name, transforms in shown["transforms"].items():
            encoder = shown["encoders"][name]
            encoder = {"name": encoder} if isinstance(encoder, str) else dict(encoder)
            if not encoder["name"].startswith("hf:"):
                reader = READERS[kinds[name]].fit([])
                build(name, reader, **{**encoder, "width": 4, "transforms": transforms})
            else:
                check_options(encoder, hf.build, name, beside=("kind", "reader"))
    shown = parse_yaml(pretrained)
    for name, encoder in shown["encoders"].items():
        stated = {k: v for k, v in encoder.items() if k != "name"}
        check_options(stated, ENCODERS[kinds[name]][encoder["name"]], name, beside=("front_end",))
        reader, _ = reader_of(kinds[name], encoder)
        check_options(shown["readers"].get(name, {}), reader.fit, name, beside=("cells",))
    method = dict(options["method"])
    check_options(method, altuna.methods.get(method.pop("name")), "docs", beside=("model",))


def test_the_readme_counts_the_methods_and_fits_a_page():
    assert f"{len(altuna.methods.list()) - 1} other methods" in README
    assert len(README.splitlines()) <= 100


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_files_that_pages_name_exist():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        named = re.findall(
            r"`((?:altuna|tests|tools|benchmarks)/[\w/.-]+)`", page.read_text(encoding="utf-8")
        )
        own = {"altuna/methods/random_modality.py", "tests/methods/test_random_modality.py"}  # of a reader
        assert not [name for name in {*named} - own if not (ROOT / name).exists()], page.name


def test_nothing_is_left_to_fill_in():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        assert not re.search(r"^[A-Z_]{5,}$", page.read_text(encoding="utf-8"), re.MULTILINE), page.name


def tool(name):
    """Load a script of ``tools``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_methods_is_that_of_the_docstrings():
    """``python tools/build_methods.py`` makes it anew."""
    assert (ROOT / "docs" / "methods.md").read_text(encoding="utf-8") == tool("build_methods").page()


def test_the_tables_of_results_are_those_of_the_benchmarks():
    """``python tools/build_results.py`` makes them anew."""
    results = tool("build_results")
    places = []
    for page in results.PAGES:
        text = page.read_text(encoding="utf-8")
        assert results.filled(text) == text, page.name
        places += [found[2] for found in results.PLACE.finditer(text)]
    assert sorted(places) == ["emoji", "emoji", "grid", "summary"]


def test_the_recipe_of_the_documentation_prepares(tmp_path, capsys):
    (block,) = blocks((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"), "python")
    names = {}
    exec(block, names)
    rng = np.random.default_rng(0)
    for folder in ("photos", "songs"):
        (tmp_path / folder).mkdir()
    for i in range(42):
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        image.save(tmp_path / "photos" / f"b{i // 2}_{i % 2}.jpg")
        soundfile.write(tmp_path / "songs" / f"b{i // 2}_{i % 2}.wav", rng.uniform(-1, 1, 800), 8000)
    (tmp_path / "birds.txt").write_text("".join(f"b{i} {('owl', 'tit')[i % 2]}\n" for i in range(20)))
    names["main"](tmp_path, tmp_path / "birds.csv")
    assert "0 of 20 birds shared" in capsys.readouterr().out
    manifest = altuna.data.table.manifest.read_manifest(tmp_path / "birds.csv")
    assert len(manifest) == 40
    assert "b20_1,,,left out,its bird is not in birds.txt" in (tmp_path / "birds.problems.csv").read_text()


def test_the_smallest_method_of_the_documentation_trains():
    names = {}
    (block,) = blocks((ROOT / "docs" / "extend.md").read_text(encoding="utf-8"), "python")
    exec(block, names)
    encoders = {m: torch.nn.Linear(4, 6) for m in ("a", "b")}
    method = names["RandomModality"](altuna.MultimodalClassifier(encoders, 3, head="separate"))
    rows = {m: torch.arange(5) for m in encoders}
    batch = altuna.Batch({m: torch.randn(5, 4) for m in encoders}, rows, torch.arange(5) % 3, torch.arange(5))
    drawn = set()
    for _ in range(20):
        (turn,) = method.turns(batch)
        drawn.add(turn.name)
        assert method.loss(turn, batch).requires_grad
    assert drawn == {"a", "b"}
